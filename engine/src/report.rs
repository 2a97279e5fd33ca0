//! What the engine tells the world: events for the log and anvil, cards for `torpor who`.
//!
//! The core names what happened and copies the words out of the cold store into the arena of the
//! actions; rendering, filtering and writing happen on other threads. Names follow those of
//! Dovecot: `imap_client_hibernated`, `imap_client_unhibernated` and
//! `imap_client_unhibernate_retried`.

use core::fmt;

use torpor_handoff::message::Outcome;

use crate::ring::{Peer, Span};

/// One event. `card` is a line of [`CARD_FIELDS`], `text` the reason that somebody gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub event: Event,
    /// Slot and generation of the client; both zero where there is none.
    pub slot: u32,
    pub generation: u32,
    /// Wall clock of the hibernation, microseconds since the epoch; 0 where there was none.
    pub started_us: u64,
    /// The client's card; empty where there is none.
    pub card: Span,
    /// What the worker answered, or which field of a line was bad.
    pub text: Span,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The last `+` is out: the client is ours.
    Hibernated,
    /// A worker has said `+`: the client is its own.
    Unhibernated(Cause),
    /// A handoff failed and will be tried again.
    Retried(Outcome),
    /// The client is gone.
    Disconnected(Goodbye),
    /// A hibernation was refused; the client stays with its worker. `text` is the reason sent.
    Refused(Peer),
    /// A session stays with its worker because the configuration says so. `text` as above.
    KeptAwake(Peer),
    /// A hibernate connection ended early or broke the protocol; nobody was lost.
    Broken(Peer),
    /// The record in this slot was damaged while no engine ran; its client is dropped.
    Torn(u32),
    /// Descriptors could not be received or a socket operation failed; the errno.
    Trouble(i32),
}

/// Why a client wakes. Its order is the order of the queue: people first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The client has sent something.
    Input,
    /// Its mailbox changed.
    Change,
    /// A write to it was cut short; the worker writes the rest.
    Cut,
}

/// Why a client's sleep ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// The client hung up; the errno, 0 for an orderly end.
    Closed(i32),
    /// A write failed for ever; the errno.
    WriteFailed(i32),
    /// An operator said so.
    Kicked,
    /// The engine ends.
    Shutdown,
    /// No worker took it within the configured time.
    Waited,
    /// The worker took the descriptor and fell silent: shut down, nobody may revive it.
    Lost,
    /// Its words in the cold store do not have their checksum.
    Damaged,
}

impl fmt::Display for Goodbye {
    /// The texts that Dovecot logs, so that they can still be searched for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(0) => f.write_str("Connection closed"),
            Self::Closed(errno) | Self::WriteFailed(errno) => {
                write!(f, "Connection closed: {}", std::io::Error::from_raw_os_error(*errno))
            }
            Self::Kicked => f.write_str("User kicked"),
            Self::Shutdown => f.write_str("Server shutting down"),
            Self::Waited | Self::Lost | Self::Damaged => {
                f.write_str("Failed to unhibernate client")
            }
        }
    }
}

/// Names of the TAB-separated, tab-escaped fields of a card, in their order. Absent ones are
/// empty. `who` puts `slot`, `generation`, `state` and `started_us` in front.
pub const CARD_FIELDS: [&str; 12] = [
    "user",
    "session",
    "mailbox",
    "lip",
    "lport",
    "rip",
    "rport",
    "uid",
    "gid",
    "prefix",
    "stats",
    "userdb_fields",
];

/// Counts and gauges, copied out after each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Gauges. Of those who are heard `dozing` have a recv of their own, `sunk` an epoll item.
    pub asleep: u64,
    pub dozing: u64,
    pub sunk: u64,
    pub queued_input: u64,
    pub queued_change: u64,
    pub queue_oldest_ms: u64,
    pub in_flight: u64,
    pub awake: u64,
    pub window: u64,
    pub conns: u64,
    pub mailboxes: u64,
    pub notify_kept: u64,
    pub cold_blocks_used: u64,
    pub cold_shelf_bytes: u64,
    pub cold_damaged: u64,
    /// Totals since start. First those who were taken over from an engine that was killed.
    pub revived: u64,
    pub hibernated: u64,
    pub refused: u64,
    pub refused_full: u64,
    pub refused_kept_awake: u64,
    pub broken: u64,
    pub wakes_input: u64,
    pub wakes_change: u64,
    pub wakes_cut: u64,
    pub unhibernated: u64,
    pub retried_unsent: u64,
    pub retried_refused: u64,
    pub retried_gone: u64,
    pub lost: u64,
    pub given_up: u64,
    pub disconnected: u64,
    pub kicked: u64,
    pub dismissed: u64,
    pub keepalives: u64,
    pub keepalives_blocked: u64,
    pub idles_answered: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub watch_events: u64,
    pub watch_overflows: u64,
    pub starved: u64,
    /// Dozes that ended in sleep, sleepers that the epoll set told of, and those it did not take.
    pub sinks: u64,
    pub stirs: u64,
    pub sinks_refused: u64,
    /// Gauge: of the sunk, those who need no item. Then their events for which there was no room,
    /// and the stirs that nothing but a sweep has found.
    pub dense: u64,
    pub dense_lost: u64,
    pub dense_found: u64,
    /// Totals since start: how long wakes waited for us (`torpor_handoff::delays`), each counted at
    /// the first bound that it kept.
    pub delays_50us: u64,
    pub delays_100us: u64,
    pub delays_150us: u64,
    pub delays_200us: u64,
    pub delays_300us: u64,
    pub delays_500us: u64,
    pub delays_1ms: u64,
    pub delays_longer: u64,
    pub delays_sum_us: u64,
}
