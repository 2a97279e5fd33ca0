//! The epoll set of the sleepers.
//!
//! An item costs the kernel 222 bytes and is keyed by file *and* descriptor number (epoll(7), Q1),
//! while sleepers have no numbers. So every item is added and deleted under one number, which a
//! client's file has for that moment alone: were it left open, it would keep the last client's
//! connection open. The set outlives the engine with whoever holds it, and with it every item, so
//! an heir must use the same number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::dup3;

use crate::ring::ITEMS_MAX;
use crate::token::Token;

use super::clients::patiently;
use super::dense::Dense;
use super::own::{inherited, own};

/// The set and its number, and the way for TCP clients that needs no items, where it is asked for.
pub struct Items {
    dense: Option<Dense>,
    set: Epoll,
    /// The number of all items. Between two uses it is another name of the set.
    number: OwnedFd,
}

impl Items {
    /// A set without items.
    pub fn create() -> io::Result<Self> {
        Self::above(NUMBER_MIN)
    }

    fn above(number_min: RawFd) -> io::Result<Self> {
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let number = own(fcntl(&set.0, FcntlArg::F_DUPFD_CLOEXEC(number_min))?);
        Ok(Self { dense: None, set, number })
    }

    /// The set of an engine that has ended, by its descriptor in this process and the number that
    /// its items have. Fails when that number is in use here: start with fewer descriptors.
    pub fn inherit(set: RawFd, number: RawFd) -> io::Result<Self> {
        let set = inherited(set)?;
        let found = own(fcntl(&set, FcntlArg::F_DUPFD_CLOEXEC(number))?);
        if found.as_raw_fd() != number {
            let why = format!("descriptor {number}, which the items have, is in use");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        }
        Ok(Self { dense: None, set: Epoll(set), number: found })
    }

    /// From now on TCP clients are armed in this way, and their events are told through the set.
    pub fn use_dense(&mut self, dense: Dense) -> io::Result<()> {
        for (source, data) in [(dense.bell(), BELL), (dense.sweep_timer(), SWEEP)] {
            match self.set.add(source, EpollEvent::new(EpollFlags::EPOLLIN, data)) {
                // An engine before this one has done so.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.dense = Some(dense);
        Ok(())
    }

    /// The set, for a child process to inherit, and for the ring to look at.
    pub fn set(&self) -> BorrowedFd<'_> {
        self.set.0.as_fd()
    }

    /// The number that items have, for an heir.
    pub fn number(&self) -> RawFd {
        self.number.as_raw_fd()
    }

    /// Adds a client, to be told by this token; one that is in, since an engine that was killed
    /// has added it, is told by this token from now on. ENOSPC: fs.epoll.max_user_watches is
    /// reached. EAGAIN: there is something to hear already.
    pub fn add(&mut self, client: BorrowedFd, token: Token) -> Result<(), Errno> {
        match self.dense.as_mut().map(|dense| dense.add(client, token)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(Errno::EAGAIN)) => return Err(Errno::EAGAIN),
            // It is not TCP, or there is none of this way.
            Some(Err(_)) | None => {}
        }
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, token.bits());
        self.under_number(client, |set, number| match set.add(number, event) {
            Err(Errno::EEXIST) => set.modify(number, &mut event),
            result => result,
        })
    }

    /// Takes a client out, if it is in. (EPERM: a file of a kind that epoll never takes.)
    pub fn delete(&mut self, client: BorrowedFd, slot: u32) {
        if self.dense.as_mut().is_some_and(|dense| dense.delete(client, slot)) {
            return;
        }
        patiently(|| match self.under_number(client, |set, number| set.delete(number)) {
            Err(Errno::ENOENT | Errno::EPERM) => Ok(()),
            result => Ok(result?),
        });
    }

    /// Tokens of what is ready, without waiting; for kernels whose rings cannot look themselves.
    pub fn ready(&mut self, is_audible: impl Fn(u32) -> bool, out: &mut Vec<u8>) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); ITEMS_MAX];
        let count = self.set.wait(&mut events, EpollTimeout::ZERO)?;
        self.tell(events[..count].iter().map(EpollEvent::data), is_audible, out);
        Ok(())
    }

    /// Appends the tokens of events, at most [`ITEMS_MAX`]; what is left over is told again.
    /// `is_audible`: the client in a slot has something to hear.
    pub fn tell(
        &mut self,
        events: impl Iterator<Item = u64>,
        is_audible: impl Fn(u32) -> bool,
        out: &mut Vec<u8>,
    ) {
        let first = out.len();
        let (mut has_rung, mut is_due) = (false, false);
        for data in events {
            match data {
                BELL => has_rung = true,
                SWEEP => is_due = true,
                bits => out.extend_from_slice(&bits.to_ne_bytes()),
            }
        }
        let Some(dense) = &mut self.dense else { return };
        let room = |out: &Vec<u8>| ITEMS_MAX - (out.len() - first) / size_of::<u64>();
        if has_rung {
            dense.drain(room(out), out);
        }
        if is_due {
            dense.sweep(room(out), is_audible, out);
        }
    }

    /// The way that needs no items, if it is used.
    pub fn dense(&self) -> Option<&Dense> {
        self.dense.as_ref()
    }

    fn under_number<T>(
        &mut self,
        client: BorrowedFd,
        act: impl FnOnce(&Epoll, &OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        dup3(client, &mut self.number, OFlag::O_CLOEXEC)?;
        let result = act(&self.set, &self.number);
        dup3(&self.set.0, &mut self.number, OFlag::O_CLOEXEC).expect("both are open");
        result
    }
}

/// Above what a process opens when it starts, so that the number is free in an heir.
const NUMBER_MIN: RawFd = 200;
/// What the set says when dense sleepers have stirred, and when they are to be swept: no token is
/// of kind zero.
const BELL: u64 = 0;
const SWEEP: u64 = 1;

#[cfg(test)]
mod tests;
