//! What a run brought: everything that the summary, the JSON file and the report show.

use serde::Serialize;

use crate::act::Act;
use crate::ledger::{Kind, Ledger};
use crate::midway::Ran;
use crate::plan::Plan;
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
    /// When the command of [`crate::run::Setup::midway`] ran, if it did.
    pub midway: Option<Ran>,
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
    /// Of all processes watched; none when only a control socket is.
    #[serde(flatten)]
    pub weight: Option<Weight>,
}

/// What processes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Memory, each one's share of what they have in common.
    pub pss_kb: u64,
    /// Of that, what is no page of a file.
    pub own_kb: u64,
    pub descriptors: u64,
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

    /// Clients that were lost, and answers that clients who live were not given.
    pub fn lost(&self) -> u64 {
        self.acts.iter().map(|played| played.ledger.lost()).sum()
    }

    /// True when nobody was lost, and all was asked that the plan has.
    pub fn is_fine(&self) -> bool {
        self.lost() == 0 && self.acts.iter().all(|played| played.ledger.skipped == 0)
    }

    /// Questions of one kind that were answered, in all acts.
    pub fn answered(&self, kind: Kind) -> u64 {
        let tallies = self.acts.iter().filter_map(|played| played.ledger.tallies.get(&kind));
        tallies.map(|tally| tally.times.count()).sum()
    }
}
