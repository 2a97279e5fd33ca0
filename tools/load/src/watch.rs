//! The server from outside: its processes, what they weigh, and what torpor says of its sleepers.

mod control;
mod family;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::outcome::Weight;

/// What is watched; all of it may be missing.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// These processes and all below them.
    pub pids: Vec<i32>,
    /// Every process of these names.
    pub names: Vec<String>,
    /// Which names, of processes or of torpor's subcommands, are those of workers.
    pub workers: Vec<String>,
    /// torpor's control socket.
    pub socket: Option<PathBuf>,
}

/// What was seen at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Processes by name; empty when none are watched.
    pub processes: BTreeMap<String, u64>,
    /// Those that serve clients who are awake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u64>,
    /// Clients that torpor holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asleep: Option<u64>,
}

impl Watch {
    /// `None` when nothing is watched.
    pub fn look(&self) -> Option<Seen> {
        let asleep = self.socket.as_deref().and_then(control::asleep);
        if !self.sees_processes() {
            return asleep.map(|_| Seen { asleep, ..Seen::default() });
        }
        let mut processes = BTreeMap::new();
        for process in family::members(&self.pids, &self.names) {
            *processes.entry(process.name).or_default() += 1;
        }
        let workers = self.workers.iter().filter_map(|name| processes.get(name)).sum();
        Some(Seen { processes, workers: Some(workers), asleep })
    }

    /// What all processes watched take.
    pub fn weight(&self) -> Option<Weight> {
        self.sees_processes().then(|| {
            let members = family::members(&self.pids, &self.names);
            let each = members.iter().filter_map(|process| family::weight(process.pid));
            each.fold(Weight::default(), |sum, one| Weight {
                pss_kb: sum.pss_kb + one.pss_kb,
                own_kb: sum.own_kb + one.own_kb,
                descriptors: sum.descriptors + one.descriptors,
            })
        })
    }

    /// True when it can be told from outside whether clients sleep.
    pub fn sees_sleep(&self) -> bool {
        self.sees_processes() || self.socket.is_some()
    }

    /// True when no worker is left, and all of these clients are held.
    pub fn is_asleep(&self, clients: u64) -> bool {
        let seen = self.look().unwrap_or_default();
        seen.workers.unwrap_or(0) == 0
            && (self.socket.is_none() || seen.asleep.is_some_and(|asleep| asleep >= clients))
    }

    fn sees_processes(&self) -> bool {
        !self.pids.is_empty() || !self.names.is_empty()
    }
}
