//! What keeps conversations beyond the end of this process, so that an heir can ask them what
//! became of their clients.
//!
//! A conversation is put into its place *before* the client's descriptor is sent, marked with the
//! attempt that it is, and from then on nothing that the worker says is taken out of it: `+`, `-`
//! or its end are there for whoever looks next. The place is emptied when the engine has committed
//! what came of it, and not before: an empty place says that nothing was sent.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Places that outlive the process, one for each conversation that may be in flight.
pub trait Keep: Send + Sync {
    /// Puts a conversation and its worker's pidfd, if there is one, into a place; whatever was
    /// there is let go.
    ///
    /// # Errors
    /// The host has no memory. Nothing has changed.
    fn put(
        &self,
        place: u32,
        socket: BorrowedFd<'_>,
        worker: Option<BorrowedFd<'_>>,
    ) -> io::Result<()>;

    /// Descriptors for what is in a place, which keeps it; none if it is empty.
    fn take(&self, place: u32) -> Option<Kept>;

    /// Empties a place.
    fn clear(&self, place: u32);
}

/// What a place has kept.
#[derive(Debug)]
pub struct Kept {
    pub socket: OwnedFd,
    pub worker: Option<OwnedFd>,
}
