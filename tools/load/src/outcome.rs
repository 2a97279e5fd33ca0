//! What a run brought: everything that the summary, the JSON file and the report show.

use serde::Serialize;

use crate::ledger::{Kind, Ledger};
use crate::plan::{Act, Plan};
use crate::watch::Seen;

/// A whole run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub server: String,
    pub clients: u32,
    pub crews: usize,
    pub acts: Vec<Played>,
    pub points: Vec<Point>,
    pub samples: Vec<Sample>,
}

/// One act, of all crews together.
#[derive(Clone, Debug)]
pub struct Played {
    pub name: String,
    pub act: Act,
    /// Since the run began.
    pub began_secs: f64,
    pub secs: f64,
    pub ledger: Ledger,
}

/// The server at a moment that has a name.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub name: String,
    pub secs: f64,
    /// Clients connected then.
    pub clients: u64,
    #[serde(flatten)]
    pub seen: Seen,
    /// Memory of all processes watched; none when only a control socket is.
    pub pss_kb: Option<u64>,
}

/// Twice a second: the clients, and the server if it is watched.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub secs: f64,
    pub alive: u64,
    pub resting: u64,
    pub died: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

impl Outcome {
    pub fn new(plan: &Plan) -> Self {
        Self {
            server: plan.server.to_string(),
            clients: plan.clients,
            crews: 0,
            acts: Vec::new(),
            points: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Clients and answers that were lost, and those that were never asked.
    pub fn lost(&self) -> u64 {
        self.acts.iter().map(|played| played.ledger.lost() + played.ledger.skipped).sum()
    }

    /// Questions of one kind that were answered, in all acts.
    pub fn answered(&self, kind: Kind) -> u64 {
        let tallies = self.acts.iter().filter_map(|played| played.ledger.tallies.get(&kind));
        tallies.map(|tally| tally.times.count()).sum()
    }
}
