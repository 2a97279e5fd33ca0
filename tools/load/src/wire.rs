//! What the run and its crews tell each other: one JSON object a line, on the crew's standard
//! input and output.

use serde::{Deserialize, Serialize};

use crate::act::{Act, Storm};
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::share::Share;

/// The first line to a crew.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Brief {
    pub plan: Plan,
    pub share: Share,
    /// When the run began, in microseconds since the epoch, so that all crews date alike.
    pub began_us: u64,
}

/// Every further line to a crew. The end of its input ends the crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Get ready for the act of this index: write the mails that will be delivered.
    Prepare(usize),
    /// Play it, now.
    Go,
}

/// A line from a crew.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Prepared,
    /// Where it stands, a few times a second.
    Progress(Counts),
    /// The act is over.
    Played(Box<Ledger>),
}

/// Where a crew stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counts {
    /// Clients that are connected.
    pub alive: u64,
    /// Those of them that idle and wait for nothing.
    pub resting: u64,
    /// Clients that the server lost.
    pub died: u64,
    /// Questions of this act that have an answer, and those that never will.
    pub answered: u64,
    pub lost: u64,
    /// Of the answers, those to DONE and to mail.
    pub done: u64,
    pub mail: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.alive += other.alive;
        self.resting += other.resting;
        self.died += other.died;
        self.answered += other.answered;
        self.lost += other.lost;
        self.done += other.done;
        self.mail += other.mail;
    }

    /// Of those that the act is for: a storm's clients also go back to IDLE, and others log in.
    pub fn answers_to(&self, act: &Act) -> u64 {
        match act {
            Act::Storm { what: Storm::Done, .. } | Act::Check { .. } => self.done,
            Act::Storm { what: Storm::Mail, .. } => self.mail,
            _ => self.answered,
        }
    }
}
