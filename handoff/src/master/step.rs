//! The words between a conversation and its driver.

use crate::outcome::Outcome;

/// How long a conversation waits, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From connect to the descriptor: forking a worker takes 4 to 21 ms, a queue of them longer.
    pub version_ms: u64,
    /// From the descriptor to the worker's answer.
    pub ack_ms: u64,
    /// For the proof that a worker that hung up is dead, and for the rest of a refusal's text.
    pub exit_ms: u64,
}

/// What has happened. Errnos are those of the call that the last step asked for.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    Connected,
    ConnectFailed(i32),
    /// Bytes from the worker; `has_pidfd` if a pidfd of it came with them or before.
    Received {
        bytes: &'a [u8],
        has_pidfd: bool,
    },
    ReceiveFailed(i32),
    /// The socket may take more.
    Writable,
    /// So many bytes of what the last step asked for went out.
    Sent {
        count: usize,
    },
    /// Nothing went out. EAGAIN is no failure: wait for `Writable`.
    SendFailed(i32),
    Eof,
    /// The worker's process has ended, and the socket was read until it was empty.
    WorkerDead,
    /// `deadline_ms` has come, and the socket was read until it was empty.
    Deadline,
    /// The client's connection is shut down.
    ClientShut,
    /// The host wants to end: what has not been sent comes back at once.
    Stop,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until an event or `deadline_ms`.
    Wait,
    /// Send `MASTER_VERSION[from..]`.
    SendVersion { from: usize },
    /// Send as much of the request as goes, with the client's descriptor on its first byte.
    SendFirst,
    /// Send the request from here on. Without a descriptor.
    SendRest { from: usize },
    /// Shut the client's connection down in both directions, then tell `ClientShut`.
    ShutClient,
    /// It is over. No event may follow.
    Finish(Outcome),
}
