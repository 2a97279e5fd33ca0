//! What goes over the control socket. Names are stable: fields may be added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::card::Sleeper;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Sleepers of everybody, or of one user.
    Who {
        user: Option<String>,
    },
    /// BYE to a user's sleepers, or to one session.
    Kick {
        user: String,
        session: Option<String>,
    },
    Stats {},
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Client(Box<Client>),
    Stats(Box<Stats>),
    Done(Done),
    Error(String),
}

/// The end of an answer: sleepers shown or kicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Done {
    pub count: u64,
}

/// One sleeper, or one client of the built-in worker that is awake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Client {
    pub user: String,
    pub session: String,
    /// Empty: none is selected.
    pub mailbox: String,
    pub local_ip: String,
    pub local_port: String,
    pub remote_ip: String,
    pub remote_port: String,
    /// `given`, `asleep`, `queued`, `joining` or `handed`; `awake` with a worker of our own.
    pub state: String,
    /// Which engine holds it, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<u32>,
    pub slot: u32,
    pub generation: u32,
    /// Microseconds since the epoch; 0: it is awake.
    pub hibernated_us: u64,
    /// Its worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// The state of all engines together, and of the front if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stats {
    pub version: String,
    /// The keeper's: the process that signals go to.
    pub pid: u32,
    /// Of the engine that has run longest.
    pub uptime_secs: u64,
    pub base_dir: String,
    /// Gauges and totals under the engine's names.
    pub counters: BTreeMap<String, u64>,
    pub limits: BTreeMap<String, u64>,
    /// Log events, log lines and anvil events that were dropped.
    pub losses: BTreeMap<String, u64>,
    /// Workers, logins, failures and so on of the built-in worker's front.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub front: BTreeMap<String, u64>,
    /// Those engines that have answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineStats>,
}

/// One engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EngineStats {
    /// From 1.
    pub number: u32,
    pub pid: u32,
    pub uptime_secs: u64,
    pub asleep: u64,
    pub in_flight: u64,
}

impl From<Sleeper> for Client {
    fn from(sleeper: Sleeper) -> Self {
        let Sleeper { slot, generation, state, started_us, card } = sleeper;
        Self {
            user: card.user,
            session: card.session,
            mailbox: card.mailbox,
            local_ip: card.lip,
            local_port: card.lport,
            remote_ip: card.rip,
            remote_port: card.rport,
            state: state.to_lowercase(),
            engine: None,
            slot,
            generation,
            hibernated_us: started_us,
            pid: None,
        }
    }
}
