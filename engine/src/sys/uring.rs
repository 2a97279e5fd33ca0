//! The kernel's ring behind [`Ring`].
//!
//! A place knows how many operations it has in the kernel and is only let go when there are
//! none. Memory that an operation names stays where it is until its terminal completion.

mod arrive;
mod at_once;
mod depart;
mod done;
mod memory;
#[cfg(test)]
mod tests;

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{setsockopt, sockopt};

use crate::limits::Limits;
use crate::report::Counters;
use crate::ring::{BATCH_MAX, ITEMS_MAX, Inbox, Op, Passed, Ring};

use super::clients::Clients;
use super::conns::Conns;
use super::items::Items;
use super::lasting::Lasting;
use super::main_ring::MainRing;
use super::passed::Lobby;
use super::seats::Seats;
use super::setup::Abilities;
use super::sqe;
use arrive::EVENT_BYTES;
use done::Done;
use memory::Memory;

/// An io_uring with the descriptors that its operations are about. It may be made on one thread
/// and moved to another: the first thread to [`Ring::enter`] is its one issuer for ever.
pub struct KernelRing {
    // First, so that it is closed before the memory below is given back.
    uring: IoUring,
    enabled: bool,
    abilities: Abilities,
    vanish_timeout_ms: u32,
    takes_turns: bool,
    listener: OwnedFd,
    watch: OwnedFd,
    marks: Option<OwnedFd>,
    doorbell: OwnedFd,
    conns: Conns,
    clients: Clients,
    items: Items,
    /// Events that were just read, until their tokens are told.
    events: Vec<u8>,
    notifies: Seats<OwnedFd>,
    lobby: Lobby,
    memory: Memory,
    /// What is received lies in it. Open for a keeper that takes this engine over.
    _received: OwnedFd,
    /// Operations that were done without the ring and whose completions are still owed.
    done: Done,
    in_flight: u64,
    /// Completions that were copied out of the kernel's queue and are still in it.
    taken: usize,
    /// Room for them.
    batch: Vec<cqueue::Entry>,
    overflows: u64,
}

impl KernelRing {
    /// A ring for the listening hibernate socket, the shared inotify instance and the doorbell
    /// (an eventfd), or one line that names what the host lacks. What lasts is of the same limits.
    pub fn new(
        limits: &Limits,
        lasting: Lasting,
        listener: OwnedFd,
        watch: OwnedFd,
        doorbell: OwnedFd,
    ) -> io::Result<Self> {
        Self::with_abilities(limits, lasting, listener, watch, doorbell, Abilities::look()?)
    }

    /// The same with abilities given, so that the ways of older kernels can be tried on newer.
    pub(super) fn with_abilities(
        limits: &Limits,
        lasting: Lasting,
        listener: OwnedFd,
        watch: OwnedFd,
        doorbell: OwnedFd,
        abilities: Abilities,
    ) -> io::Result<Self> {
        let MainRing { uring, received } = lasting.main;
        // Reading a blocking inotify instance would be left to a kernel thread that cannot be
        // cancelled while it waits.
        for descriptor in [&watch, &doorbell] {
            let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
            fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        let memory = Memory::new(limits, &received)?;
        memory.register(&uring.submitter())?;
        let owed = 2 * limits.slots_max + limits.conns_max;
        Ok(Self {
            uring,
            enabled: false,
            abilities,
            vanish_timeout_ms: 0,
            takes_turns: false,
            listener,
            watch,
            marks: None,
            doorbell,
            conns: Conns::new(limits, lasting.vault.clone()),
            clients: Clients::new(limits, lasting.vault),
            items: lasting.items,
            events: Vec::with_capacity(ITEMS_MAX * EVENT_BYTES),
            notifies: Seats::new("notify descriptor", limits.slots_max),
            lobby: Lobby::new(),
            memory,
            _received: received,
            done: Done::new(owed as usize),
            in_flight: 0,
            taken: 0,
            batch: Vec::with_capacity(BATCH_MAX),
            overflows: 0,
        })
    }

    /// TCP clients seated from now on are given up by the kernel when what was sent to them stays
    /// unacknowledged for this long (TCP_USER_TIMEOUT, RFC 5482; 0: the system's default), so
    /// that a keepalive finds out who has vanished. Taken back when the client is unseated.
    pub fn set_vanish_timeout_ms(&mut self, vanish_timeout_ms: u32) {
        self.vanish_timeout_ms = vanish_timeout_ms;
    }

    /// Reads of this fanotify instance (non-blocking) beside the shared inotify instance.
    pub fn set_marks(&mut self, marks: OwnedFd) {
        self.marks = Some(marks);
    }

    /// Other processes accept from the same hibernate socket. The kernel wakes whoever has waited
    /// longest, and a multishot accept never goes to the end of that queue: the first engine would
    /// get all. One accept for each connection takes turns (seen on Linux 6.18).
    pub fn take_turns(&mut self) {
        self.takes_turns = true;
    }

    /// The hibernate socket was bound anew. Accepts armed from now on are on this one.
    pub fn relisten(&mut self, listener: OwnedFd) {
        self.listener = listener;
    }

    /// Times that completions were found waiting outside of a full completion queue. They are
    /// not lost, but the multishot operations they belong to have ended.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    fn seat(&mut self, slot: u32, client: OwnedFd) {
        if self.vanish_timeout_ms > 0 {
            set_user_timeout(&client, self.vanish_timeout_ms);
        }
        self.clients.seat(slot, client);
    }
}

impl Ring for KernelRing {
    type Descriptor = OwnedFd;

    fn push(&mut self, op: &Op, text: &[u8]) -> bool {
        if self.at_once(op) {
            return true;
        }
        if self.uring.submission().is_full() {
            return false;
        }
        let (token, entry) = self.entry(op, text);
        sqe::push(&mut self.uring, &entry.user_data(token.bits()));
        self.in_flight += 1;
        true
    }

    fn enter(&mut self, wait_ms: Option<u32>) -> io::Result<()> {
        if !self.enabled {
            self.uring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        self.clients.rest();
        let entered = match if self.done.is_empty() { wait_ms } else { Some(0) } {
            None => self.uring.submit_and_wait(1),
            Some(0) => self.uring.submit(),
            Some(wait_ms) => {
                let time = Timespec::from(Duration::from_millis(wait_ms.into()));
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        if self.uring.submission().is_empty() {
            self.clients.submitted();
        }
        let Err(error) = entered else { return Ok(()) };
        match error.raw_os_error() {
            // Time is up, a signal came, or completions must be reaped first.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
            Some(libc::EAGAIN) => {
                // The kernel has no memory for a request. What is queued stays queued.
                thread::sleep(Duration::from_millis(1));
                Ok(())
            }
            Some(libc::EBADR) => {
                let why = "host: out of memory, the kernel has lost completions (EBADR)";
                Err(io::Error::new(error.kind(), why))
            }
            _ => Err(error),
        }
    }

    fn applied(&mut self) {
        self.uring.completion().take(mem::take(&mut self.taken)).for_each(drop);
    }

    fn reap(&mut self, inbox: &mut Inbox) {
        self.arrivals(inbox);
        if self.uring.submission().cq_overflow() {
            self.overflows += 1;
        }
    }

    fn seat_client(&mut self, slot: u32, client: OwnedFd) {
        self.seat(slot, client);
    }

    fn unseat_client(&mut self, slot: u32) -> OwnedFd {
        let client = self.clients.unseat(slot);
        if self.vanish_timeout_ms > 0 {
            set_user_timeout(&client, 0);
        }
        client
    }

    fn take_passed(&mut self, passed: Passed) -> OwnedFd {
        self.lobby.leave(passed)
    }

    fn seat_notify(&mut self, slot: u32, notify: OwnedFd) {
        self.notifies.seat(slot, notify);
    }

    fn unseat_notify(&mut self, slot: u32) -> OwnedFd {
        self.notifies.unseat(slot)
    }

    fn has_marks(&self) -> bool {
        self.marks.is_some()
    }

    fn count(&self, counters: &mut Counters) {
        let Some(dense) = self.items.dense() else { return };
        counters.dense = dense.sleepers().into();
        (counters.dense_lost, counters.dense_found) = (dense.lost(), dense.found());
    }
}

impl Drop for KernelRing {
    /// The kernel ends what is in flight some time after the ring is closed. Memory that it might
    /// still write to must stay for ever.
    fn drop(&mut self) {
        if self.in_flight > 0 {
            self.memory.leak();
        }
    }
}

/// An AF_UNIX client has no such option and no peer that could vanish silently.
fn set_user_timeout(client: &OwnedFd, timeout_ms: u32) {
    let _ = setsockopt(client, sockopt::TcpUserTimeout, &timeout_ms);
}
