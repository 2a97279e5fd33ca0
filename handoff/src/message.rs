//! What travels between the engine and the handoff thread.
//!
//! The client's descriptor travels inside the value: whoever holds the value owns the client, so
//! there is one owner by construction.

/// A client to give back, with the whole request line.
#[derive(Debug)]
pub struct Wake<D> {
    pub slot: u32,
    pub generation: u32,
    pub parcel: Vec<u8>,
    pub client: D,
}

/// How a handoff ended.
#[derive(Debug)]
pub struct Reply {
    pub slot: u32,
    pub generation: u32,
    pub outcome: Outcome,
    /// The same allocation back; holds the worker's reason, at most 256 bytes.
    pub parcel: Vec<u8>,
}

/// A reply with the client that came back: `Some` unless `Taken` or `Lost`.
#[derive(Debug)]
pub struct Returned<D> {
    pub reply: Reply,
    pub client: Option<D>,
}

/// The fate of a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The worker said `+`.
    Taken,
    /// The worker said `-`.
    Refused,
    /// The worker died after it was sent the client, without a `+`.
    Gone,
    /// The client was never sent.
    Unsent(Cause),
    /// Silence: the socket was shut down.
    Lost,
}

/// Why a client was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody listens on imap-master; the errno of connect.
    Absent(i32),
    /// The listen queue of imap-master is full.
    Full,
    /// No greeting in time.
    Silent,
    /// The greeting was not imap-master's.
    BadGreeting,
    /// Closed before the greeting.
    Closed,
    /// Our own host failed; the errno.
    Host(i32),
}
