//! The workers that took a client, watched until their processes end.
//!
//! A ring of places. When all are taken the worker that has been watched for longest gives way;
//! its end is then not told, and the engine counts it by age, as it does where the kernel gives no
//! pidfd.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::message::Exited;

/// A place for each of them.
pub(crate) struct Workers {
    places: Box<[Option<Worker>]>,
    next: usize,
}

struct Worker {
    pidfd: OwnedFd,
    exited: Exited,
}

impl Workers {
    /// Room for `max` of them, each with one descriptor.
    pub(crate) fn new(max: usize) -> Self {
        assert!(max > 0);
        Self { places: (0..max).map(|_| None).collect(), next: 0 }
    }

    /// Watches one more: its place, and the descriptor that becomes readable at its end. Whoever
    /// was in the place is let go.
    pub(crate) fn add(&mut self, pidfd: OwnedFd, exited: Exited) -> (usize, BorrowedFd<'_>) {
        let place = self.next;
        self.next = (place + 1) % self.places.len();
        let worker = self.places[place].insert(Worker { pidfd, exited });
        (place, worker.pidfd.as_fd())
    }

    /// The end of the worker in this place; none if it lives, since the event was its
    /// predecessor's.
    pub(crate) fn ended(&mut self, place: usize) -> Option<Exited> {
        let worker = self.places[place].as_ref()?;
        let mut looked = [PollFd::new(worker.pidfd.as_fd(), PollFlags::POLLIN)];
        let is_dead = poll(&mut looked, PollTimeout::ZERO) == Ok(1);
        is_dead.then(|| self.places[place].take().expect("looked at just now").exited)
    }

    /// Lets the worker in this place go.
    pub(crate) fn forget(&mut self, place: usize) {
        self.places[place] = None;
    }
}
