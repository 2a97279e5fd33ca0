//! Where clients sit: in the vault, or where that cannot be had, each behind its own descriptor.
//!
//! In the vault a sleeper has no descriptor number, so this process has as few with a million
//! sleepers as with none, and the socket outlives the process. What needs a number gets one for
//! the moment: an operation of the engine's own ring pins the file when it is submitted, so the
//! number is closed right after that, and a wake gives its number away.
//!
//! A send could do without, on the vault's ring, which knows the file by its place. But then an
//! heir could not know whether it happened, and would tell the client twice: only the completions
//! of the engine's own ring stay in their queue until what follows from them is committed.
//!
//! (`cargo test --release -p torpor-engine --lib -- ways --nocapture`: a number for the moment is
//! 0.9 µs, a send through it 1.5 µs; through the vault's ring it would be 0.6 µs.)

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::limits::Limits;
use crate::places::{Held, Places};

use super::seats::Seats;
use super::setup::SUBMISSIONS;
use super::vault::Vault;

/// The clients of an engine, by slot.
pub enum Clients {
    /// Each keeps its number, and ends with this process.
    Numbered(Seats<OwnedFd>),
    Kept(Kept),
}

/// Clients in the vault.
pub struct Kept {
    vault: Arc<Vault>,
    places: Places,
    seats: Seats<()>,
    /// Numbers of entries that are queued and not submitted.
    lent: Vec<OwnedFd>,
    /// The number that was used last: who stirs is taken out of the set and then armed, and needs
    /// one for both. It is let go of before anything else can depend on it.
    last: RefCell<Option<(u32, OwnedFd)>>,
}

impl Clients {
    /// Nobody yet. A vault must have the places of these limits.
    pub fn new(limits: &Limits, vault: Option<Arc<Vault>>) -> Self {
        let Some(vault) = vault else {
            return Self::Numbered(Seats::new("client", limits.slots_max));
        };
        let places = Places::new(limits);
        assert!(vault.places() >= places.count(), "the vault is of other limits");
        Self::Kept(Kept {
            vault,
            places,
            seats: Seats::new("client", limits.slots_max),
            lent: Vec::with_capacity(SUBMISSIONS as usize),
            last: RefCell::new(None),
        })
    }

    /// A client comes, or comes back.
    pub fn seat(&mut self, slot: u32, client: OwnedFd) {
        match self {
            Self::Numbered(seats) => seats.seat(slot, client),
            Self::Kept(kept) => {
                kept.seats.seat(slot, ());
                patiently(|| kept.vault.put(kept.place(slot), &client));
            }
        }
    }

    /// A client goes to a worker. The vault keeps it until [`Clients::release`], so that it is not
    /// lost if this process ends on the way.
    pub fn unseat(&mut self, slot: u32) -> OwnedFd {
        match self {
            Self::Numbered(seats) => seats.unseat(slot),
            Self::Kept(kept) => {
                kept.seats.unseat(slot);
                kept.number(slot)
            }
        }
    }

    /// Whom a process before us has put into the vault is ours.
    pub fn claim(&mut self, slot: u32) {
        match self {
            Self::Numbered(_) => panic!("slot {slot}: without a vault nobody outlives his engine"),
            Self::Kept(kept) => kept.seats.seat(slot, ()),
        }
    }

    /// Whoever was unseated is somebody else's now, or shut down; or a process before us has left
    /// him behind.
    pub fn release(&mut self, slot: u32) {
        if let Self::Kept(kept) = self {
            assert!(kept.seats.is_empty(slot), "client {slot} is in his place");
            patiently(|| kept.vault.clear(kept.place(slot)));
        }
    }

    /// A client's socket is closed.
    pub fn close(&mut self, slot: u32) {
        match self {
            Self::Numbered(seats) => drop(seats.unseat(slot)),
            Self::Kept(kept) => {
                kept.seats.unseat(slot);
                self.release(slot);
            }
        }
    }

    /// An operation leaves for the engine's own ring; the number is good until
    /// [`Clients::submitted`].
    pub fn depart(&mut self, slot: u32) -> RawFd {
        match self {
            Self::Numbered(seats) => seats.depart(slot).as_raw_fd(),
            Self::Kept(kept) => {
                kept.seats.depart(slot);
                let number = kept.number(slot);
                assert!(kept.lent.len() < kept.lent.capacity(), "one for each queued entry");
                let raw = number.as_raw_fd();
                kept.lent.push(number);
                raw
            }
        }
    }

    /// True exactly when somebody is there.
    pub fn is_seated(&self, slot: u32) -> bool {
        match self {
            Self::Numbered(seats) => seats.is_taken(slot),
            Self::Kept(kept) => kept.seats.is_taken(slot),
        }
    }

    /// Lends a client's descriptor for a syscall.
    pub fn lend<T>(&self, slot: u32, act: impl FnOnce(BorrowedFd) -> T) -> T {
        match self {
            Self::Numbered(seats) => act(seats.owner(slot).as_fd()),
            Self::Kept(kept) => {
                kept.seats.owner(slot);
                let number = kept.number(slot);
                let result = act(number.as_fd());
                kept.last.replace(Some((slot, number)));
                result
            }
        }
    }

    /// Nobody's number is used for now.
    pub fn rest(&self) {
        if let Self::Kept(kept) = self {
            kept.last.take();
        }
    }

    /// Everything that departed is with the kernel, which holds the files of itself.
    pub fn submitted(&mut self) {
        if let Self::Kept(kept) = self {
            kept.lent.clear();
        }
    }

    /// An operation has completed for good.
    pub fn arrive(&mut self, slot: u32) {
        match self {
            Self::Numbered(seats) => seats.arrive(slot),
            Self::Kept(kept) => kept.seats.arrive(slot),
        }
    }
}

impl Kept {
    fn place(&self, slot: u32) -> u32 {
        self.places.place(Held::Client(slot))
    }

    fn number(&self, slot: u32) -> OwnedFd {
        if let Some((last, number)) = self.last.take()
            && last == slot
        {
            return number;
        }
        patiently(|| self.vault.take(self.place(slot)))
    }
}

/// Want of memory or of numbers passes when others have ended; any other failure of the vault, or
/// of the epoll set, means that it is not what it was made to be.
pub fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if is_passing(&error) => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("what lasts is broken: {error}"),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    let passing =
        [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM, libc::EMFILE, libc::ENFILE];
    error.raw_os_error().is_some_and(|errno| passing.contains(&errno))
}

#[cfg(test)]
mod tests;
