//! Sleep without an item: two programs in the kernel tell which tagged TCP socket has stirred.
//!
//! Every TCP socket has a field that an idle one has no use for, TCP_NOTSENT_LOWAT. A sleeper's
//! holds its slot and a bit that no sensible threshold has; the programs run when any socket gets
//! data or changes its state, look for the bit, check the socket's cookie against the slot's
//! record, turn the record from armed to told (once), and put the slot into a ring buffer. So a
//! sleeper costs the kernel nothing beyond its socket, where an epoll item costs 222 bytes.
//!
//! What finds no room in the ring buffer is counted, and found by a sweep (`dense/sweep.rs`).
//!
//! Loading the programs takes CAP_BPF and CAP_PERFMON; using them takes the two maps' descriptors
//! alone, which an engine without capabilities may inherit. A socket that is not TCP is refused.

mod bpf;
mod btf;
mod program;
mod sweep;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;

use crate::token::Token;

use super::map::PAGE_BYTES;
use super::own::inherited;
use super::window::Window;
use sweep::Sweep;

/// Both maps, and the programs for as long as somebody here has them.
pub struct Dense {
    records: Window,
    records_map: OwnedFd,
    /// Where we have read up to; the kernel reads it.
    consumed: Window,
    /// The kernel's own position, then the events.
    events: Window,
    events_map: OwnedFd,
    events_bytes: usize,
    slots: u32,
    /// Clients that are armed here or have been told of.
    sleepers: u32,
    sweep: Sweep,
    /// What fastens the programs, here with whoever has loaded them. They end with the last
    /// descriptor of these.
    links: Vec<OwnedFd>,
}

impl Dense {
    /// Maps for as many slots, and the programs, fastened. Fails for want of a capability, of BTF
    /// (CONFIG_DEBUG_INFO_BTF) or of a kernel that has the tracepoint (host).
    pub fn create(slots: u32) -> io::Result<Self> {
        assert!(slots > 0, "nobody sleeps");
        let events_bytes = events_bytes(slots);
        // One more, to count in.
        let records_map = bpf::array(slots + 1, RECORD_BYTES as u32)?;
        let events_map = bpf::ring_buffer(events_bytes as u32)?;
        let btf = btf::Btf::of_kernel()?;
        let maps = (records_map.as_raw_fd(), events_map.as_raw_fd());
        let code = program::code(btf.tag_offset()?, slots, maps.0, maps.1);
        let mut links = Vec::new();
        for tracepoint in ["btf_trace_sk_data_ready", "btf_trace_inet_sock_set_state"] {
            let program = bpf::load(&code, btf.tracepoint(tracepoint)?)?;
            links.push(bpf::fasten(program.as_fd())?);
        }
        Self::over(slots, records_map, events_map, links)
    }

    /// The maps that an ancestor has created for as many slots, by their numbers here. An event
    /// may have been read and lost with its reader, so an heir arms every client anew.
    pub fn inherit(slots: u32, records: RawFd, events: RawFd) -> io::Result<Self> {
        Self::over(slots, inherited(records)?, inherited(events)?, Vec::new())
    }

    fn over(
        slots: u32,
        records_map: OwnedFd,
        events_map: OwnedFd,
        links: Vec<OwnedFd>,
    ) -> io::Result<Self> {
        let events_bytes = events_bytes(slots);
        let records = Window::new(&records_map, 0, (slots as usize + 1) * RECORD_BYTES)?;
        let is_armed = |slot: &u32| records.get(*slot as usize * RECORD_BYTES + STATE_AT) != OFF;
        let sleepers = (0..slots).filter(is_armed).count() as u32;
        let consumed = Window::new(&events_map, 0, PAGE_BYTES)?;
        // The kernel maps the events twice in a row, so that none is ever cut in two.
        let events = Window::read_only(&events_map, PAGE_BYTES, PAGE_BYTES + 2 * events_bytes)?;
        Ok(Self {
            records,
            records_map,
            consumed,
            events,
            events_map,
            events_bytes,
            slots,
            sleepers,
            sweep: Sweep::new()?,
            links,
        })
    }

    /// How many clients need no item.
    pub fn sleepers(&self) -> u32 {
        self.sleepers
    }

    /// Readable while there are events.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.events_map.as_fd()
    }

    /// Records and events, for a child process to inherit.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.records_map.as_fd(), self.events_map.as_fd()]
    }

    /// What keeps the programs running as long as anybody has it open, where they were loaded.
    pub fn links(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.iter().map(AsFd::as_fd)
    }

    /// Arms a client, to be told by this token, once. EAGAIN: there is something to hear already.
    /// EOPNOTSUPP and the like: not TCP.
    pub fn add(&mut self, client: BorrowedFd, token: Token) -> Result<(), Errno> {
        assert!(token.index() < self.slots, "slot {} is none", token.index());
        let at = token.index() as usize * RECORD_BYTES;
        let socket = SockRef::from(&client);
        let cookie = socket.cookie().map_err(errno)?;
        self.count_out(at);
        self.records.set(at + COOKIE_AT, cookie);
        self.records.set(at + TOKEN_AT, token.bits());
        self.records.set(at + STATE_AT, ARMED);
        self.sleepers += 1;
        let tagged = socket.set_tcp_notsent_lowat(TAG | token.index()).map_err(errno);
        // What came before the tag was seen by nobody.
        let quiet = tagged.and_then(|()| match has_something(client) {
            true => Err(Errno::EAGAIN),
            false => Ok(()),
        });
        if quiet.is_err() {
            self.forget(client, at);
        }
        quiet
    }

    /// Disarms a client. `false`: it is not armed here.
    pub fn delete(&mut self, client: BorrowedFd, slot: u32) -> bool {
        assert!(slot < self.slots, "slot {slot} is none");
        let at = slot as usize * RECORD_BYTES;
        let cookie = SockRef::from(&client).cookie();
        let is_armed = cookie.is_ok_and(|cookie| self.records.get(at + COOKIE_AT) == cookie);
        if is_armed {
            self.forget(client, at);
        }
        is_armed
    }

    fn forget(&mut self, client: BorrowedFd, at: usize) {
        self.count_out(at);
        self.records.set(at + COOKIE_AT, NOBODY);
        // Zero is the system's default. It fails where the connection has ended, or is not TCP.
        let _ = SockRef::from(&client).set_tcp_notsent_lowat(0);
    }

    /// From now on nothing is said of this record.
    fn count_out(&mut self, at: usize) {
        self.sleepers -= u32::from(self.records.get(at + STATE_AT) != OFF);
        self.records.set(at + STATE_AT, OFF);
    }

    /// Appends the tokens of those who were told of, at most as many.
    pub fn drain(&mut self, most: usize, out: &mut Vec<u8>) {
        let mut position = self.consumed.get(0);
        let end = self.events.get(0);
        for _ in 0..most {
            if position == end {
                break;
            }
            let at = PAGE_BYTES + position as usize % self.events_bytes;
            let header = self.events.get(at) as u32;
            if header & BUSY != 0 {
                break;
            }
            self.tell(self.events.get(at + 8) as u32, out);
            position += EVENT_BYTES as u64;
            self.consumed.set(0, position);
        }
        // Events have been lost since: whoever they were about is looked for.
        self.sweep.hurry(self.lost());
    }

    fn state(&self, slot: u32) -> u64 {
        self.records.get(slot as usize * RECORD_BYTES + STATE_AT)
    }

    fn tell(&self, slot: u32, out: &mut Vec<u8>) {
        if slot < self.slots && self.state(slot) == TOLD {
            self.name(slot, out);
        }
    }

    fn name(&self, slot: u32, out: &mut Vec<u8>) {
        let token = self.records.get(slot as usize * RECORD_BYTES + TOKEN_AT);
        out.extend_from_slice(&token.to_ne_bytes());
    }
}

/// True exactly when there is something to hear of this client.
pub fn has_something(client: BorrowedFd) -> bool {
    peek(client) != Err(Errno::EAGAIN)
}

/// What there is to hear, without taking it. An end is something to hear, too.
fn peek(client: BorrowedFd) -> Result<usize, Errno> {
    recv(client.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Room for two events of each slot: one is at most unread when its slot is armed anew.
fn events_bytes(slots: u32) -> usize {
    (slots as usize * 2 * EVENT_BYTES).next_power_of_two().max(PAGE_BYTES)
}

/// Bytes of a record: the socket's cookie, the token, the state.
const RECORD_BYTES: usize = 24;
const COOKIE_AT: usize = 0;
const TOKEN_AT: usize = 8;
const STATE_AT: usize = 16;
/// The cookie of no socket.
const NOBODY: u64 = 0;
/// States of a record. The programs go from armed to told, everything else is ours.
const OFF: u64 = 0;
const ARMED: u64 = 1;
const TOLD: u64 = 2;
/// Bytes of an event in the ring buffer: its header, and the slot.
const EVENT_BYTES: usize = 16;
/// BPF_RINGBUF_BUSY_BIT: the kernel is still writing it.
const BUSY: u32 = 1 << 31;
/// Marks a TCP_NOTSENT_LOWAT as ours; the rest is the slot.
pub const TAG: u32 = 1 << 31;

const _: () = assert!(crate::limits::SLOTS_MAX < TAG, "slots fit beside the tag");

#[cfg(test)]
mod tests;
