//! What goes over the channels between the engine thread and the handoff thread.
//!
//! The client's descriptor travels inside of the value, so it has one owner at every instant by
//! construction. The parcel's allocation travels there and back, so that neither side allocates
//! for a wake.

pub use crate::outcome::{Cause, Outcome};

/// One client to be woken.
#[derive(Debug)]
pub struct Wake<D> {
    pub slot: u32,
    /// Which life of the slot; comes back in the reply.
    pub generation: u32,
    /// Hash of the session; comes back when its worker ends.
    pub session: u64,
    /// Place of the conversation, below `handoffs_in_flight_max`; nobody else has it meanwhile.
    pub place: u32,
    /// Which conversation of this engine and those before it; wraps.
    pub attempt: u32,
    /// True exactly when an engine that was killed gave the client away: what became of its
    /// conversation decides.
    pub is_resumed: bool,
    /// When the step began that sends it: microseconds of the wall clock, for `delays`.
    pub since_us: u64,
    /// The whole request line, LF included (`line::unhibernate::render`).
    pub parcel: Vec<u8>,
    pub client: D,
}

impl<D> Wake<D> {
    /// The same wake with another client.
    pub fn with<E>(self, client: E) -> Wake<E> {
        let Self {
            slot, generation, session, place, attempt, is_resumed, since_us, parcel, ..
        } = self;
        Wake { slot, generation, session, place, attempt, is_resumed, since_us, parcel, client }
    }
}

/// How the wake ended.
#[derive(Debug)]
pub struct Reply {
    pub slot: u32,
    pub generation: u32,
    pub session: u64,
    pub outcome: Outcome,
    /// The allocation of the wake. Holds the worker's reason for a refusal, at most 256 bytes as
    /// they came (not printable by promise); empty otherwise.
    pub parcel: Vec<u8>,
}

/// The process that took a client has ended, and the session with it. The words are those of the
/// wake that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    pub slot: u32,
    pub generation: u32,
    pub session: u64,
}

/// A reply with the client, if it is ours again.
#[derive(Debug)]
pub struct Returned<D> {
    pub reply: Reply,
    /// Some exactly when `reply.outcome.is_ours()`.
    pub client: Option<D>,
    /// The place that keeps the conversation until the outcome is committed, if one does.
    pub kept: Option<u32>,
}

impl<D> Returned<D> {
    /// Ends a wake; the client is dropped, and so closed, if it is not ours any more.
    pub fn new(mut wake: Wake<D>, outcome: Outcome, reason: &[u8]) -> Self {
        assert!(reason.is_empty() || outcome == Outcome::Refused);
        assert!(reason.len() <= crate::line::REASON_BYTES_MAX);
        wake.parcel.clear();
        wake.parcel.extend_from_slice(reason);
        let Wake { slot, generation, session, parcel, .. } = wake;
        let reply = Reply { slot, generation, session, outcome, parcel };
        Self { reply, client: outcome.is_ours().then_some(wake.client), kept: None }
    }
}
