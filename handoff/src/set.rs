//! The epoll set of the handoff thread: what is waited for, and by which name it is told.

use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What a descriptor of the set is, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The engine has sent wakes.
    Bell,
    /// A conversation's socket.
    Socket(usize),
    /// The process on its other end.
    Worker(usize),
    /// The process of a worker that took a client.
    Taker(usize),
}

/// The set.
pub(crate) struct Set(Epoll);

impl Set {
    /// Nothing is waited for.
    pub(crate) fn new() -> nix::Result<Self> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map(Self)
    }

    /// From now on it is told, once for each time that something comes; the bell until it is
    /// silenced.
    pub(crate) fn add(&self, what: What, descriptor: impl AsFd) -> nix::Result<()> {
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let flags = match what {
            What::Bell => EpollFlags::EPOLLIN,
            What::Socket(_) => edge | EpollFlags::EPOLLRDHUP,
            What::Worker(_) | What::Taker(_) => edge,
        };
        self.0.add(descriptor, EpollEvent::new(flags, what.data()))
    }

    /// From now on it is also told when it has room again. Hardly ever needed: a line is shorter
    /// than what a socket takes.
    pub(crate) fn want_room(&self, what: What, descriptor: impl AsFd) -> nix::Result<()> {
        let all = [EpollFlags::EPOLLIN, EpollFlags::EPOLLOUT, EpollFlags::EPOLLRDHUP];
        let flags = all.into_iter().fold(EpollFlags::EPOLLET, EpollFlags::union);
        self.0.modify(descriptor, &mut EpollEvent::new(flags, what.data()))
    }

    /// Waits; the count of events.
    pub(crate) fn wait(
        &self,
        events: &mut [EpollEvent],
        timeout: EpollTimeout,
    ) -> nix::Result<usize> {
        self.0.wait(events, timeout)
    }
}

impl What {
    /// Of an event.
    pub(crate) fn of(event: &EpollEvent) -> Self {
        let key = usize::try_from(event.data() / KINDS).expect("it came from a usize");
        match event.data() % KINDS {
            0 => Self::Socket(key),
            1 => Self::Worker(key),
            2 => Self::Taker(key),
            _ => Self::Bell,
        }
    }

    fn data(self) -> u64 {
        match self {
            Self::Socket(key) => KINDS * key as u64,
            Self::Worker(key) => KINDS * key as u64 + 1,
            Self::Taker(place) => KINDS * place as u64 + 2,
            Self::Bell => KINDS - 1,
        }
    }
}

const KINDS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_what_is_told() {
        let all = [What::Bell, What::Socket(0), What::Socket(7), What::Worker(7), What::Taker(1)];
        for what in all {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, what.data());
            assert_eq!(What::of(&event), what);
        }
    }
}
