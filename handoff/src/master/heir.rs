//! What becomes of a conversation whose engine was killed.
//!
//! The engine has put the conversation into its place right before it sent the descriptor, and
//! emptied the place after it had committed the outcome. So an heir, to whom a record says that
//! the client was handed over, decides by what it finds there:
//!
//! | in the place | the worker | outcome |
//! |---|---|---|
//! | nothing, or an earlier attempt | was never asked | `Unsent` |
//! | this attempt | has said `+` | `Taken` |
//! | | has said anything else | `Refused` |
//! | | has hung up, or does when it hears the end of half a request | `Gone` |
//! | | is silent until `ack_timeout_ms` | `Lost`: the client is shut down |
//!
//! Whether the descriptor went out at all, and how much of the line did, cannot be known, and need
//! not be: the heir says no more on the conversation and ends its own direction. A worker that has
//! the whole request answers it; one that has not hears the end of it, hangs up, and has done
//! nothing with the client. The heir may be killed over this as well: nothing of what it decides
//! by is used up.

use super::{Conversation, State, Timeouts};
use crate::line::MASTER_VERSION;

/// A conversation in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its mark: which attempt it is.
    pub attempt: u32,
    pub has_pidfd: bool,
}

impl Conversation {
    /// Goes on with an attempt where an engine before us was killed. The caller has shut the
    /// conversation down for writing. None: that attempt has never sent its descriptor.
    pub fn resumed(
        now_ms: u64,
        timeouts: &Timeouts,
        attempt: u32,
        found: Option<Found>,
    ) -> Option<Self> {
        let Found { has_pidfd, .. } = found.filter(|found| found.attempt == attempt)?;
        let (request_bytes, version_sent) = (2, MASTER_VERSION.len());
        let deadline_ms = now_ms + timeouts.ack_ms;
        let new = Self::new(now_ms, timeouts, request_bytes);
        let (state, sent, is_greeted) = (State::Reply, request_bytes, true);
        Some(Self { state, sent, version_sent, is_greeted, has_pidfd, deadline_ms, ..new })
    }
}

#[cfg(test)]
mod tests;
