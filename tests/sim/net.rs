//! The simulated world's things: clients, mailboxes, connections, descriptors.
//!
//! A client's bytes are checkable: `sent` is all it ever sent, `pulled` how much of that has left
//! the socket, `read` how much a worker has read or the engine has answered. So a lost or a
//! repeated byte is seen the moment a worker takes the client.

mod client;
mod random;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use torpor_engine::command::Command;
use torpor_engine::core::Now;
use torpor_engine::ring::PassedKind;

use crate::faults::{Fault, Faults};

pub use client::{Client, Owner, SWITCH};
pub use random::Random;

pub type Shared = Rc<RefCell<Net>>;

/// The world between the engine's two sides.
pub struct Net {
    pub random: Random,
    pub faults: Faults,
    pub now: Now,
    pub trace: bool,
    pub clients: Vec<Client>,
    pub mailboxes: Vec<Mailbox>,
    pub conns: Vec<Conn>,
    /// Of these, so many from the front are over, and need not be looked at again.
    pub conns_over: usize,
    pub backlog: VecDeque<usize>,
    pub notifies: Vec<Notify>,
    /// Unread events of the shared inotify instance: watch and mask.
    pub shared: VecDeque<(i32, u32)>,
    pub next_wd: i32,
    pub commands: VecDeque<Command>,
    pub stopping: bool,
    pub answers: u32,
    /// Bits that were flipped while no engine ran, and cost nobody yet.
    pub damages: u32,
    pub open: Rc<Cell<i64>>,
}

pub struct Mailbox {
    pub version: u32,
    pub changed_ms: u64,
    /// As its directories' mtime has it.
    pub changed_us: u64,
    /// On the shared instance.
    pub wds: Option<[i32; 2]>,
}

/// A notify descriptor's instance.
pub struct Notify {
    pub mailbox: usize,
    pub readable: bool,
}

/// One worker's hibernate connection.
pub struct Conn {
    pub client: Option<usize>,
    /// Its notify instance, made before it connected.
    pub notify: Option<usize>,
    pub stage: u32,
    /// To the engine: bytes, with descriptors on the first byte.
    pub segments: VecDeque<(Vec<u8>, Vec<Parcel>)>,
    pub closed: bool,
    pub server_closed: bool,
    /// From the engine.
    pub heard: Vec<u8>,
    pub pluses: u32,
    pub pluses_due: u32,
    pub since_ms: u64,
}

impl Conn {
    /// Its worker has left, and the engine has read or dropped all that it sent.
    pub fn is_over(&self) -> bool {
        self.closed && self.segments.is_empty()
    }
}

/// A descriptor on its way to the engine.
pub struct Parcel {
    pub fd: SimFd,
    pub kind: PassedKind,
    pub inode: u64,
}

/// What a simulated descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    Client(usize),
    Conn(usize),
    Notify(usize),
    Junk,
}

/// An owned descriptor: counted while it lives.
#[derive(Debug)]
pub struct SimFd {
    pub thing: Thing,
    open: Rc<Cell<i64>>,
}

impl SimFd {
    pub fn new(thing: Thing, open: &Rc<Cell<i64>>) -> Self {
        open.set(open.get() + 1);
        Self { thing, open: open.clone() }
    }
}

impl Drop for SimFd {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl Net {
    pub fn new(random: Random, faults: Faults, trace: bool) -> Self {
        Self {
            random,
            faults,
            now: Now { mono_ms: 1_000_000, wall_us: 1_800_000_000_000_000 },
            trace,
            clients: Vec::new(),
            mailboxes: Vec::new(),
            conns: Vec::new(),
            conns_over: 0,
            backlog: VecDeque::new(),
            notifies: Vec::new(),
            shared: VecDeque::new(),
            next_wd: 1,
            commands: VecDeque::new(),
            stopping: false,
            answers: 0,
            damages: 0,
            open: Rc::new(Cell::new(0)),
        }
    }

    /// True, and counted, when this fault strikes now.
    pub fn strikes(&mut self, fault: Fault, per_mille: u64) -> bool {
        let strikes = self.faults.is_on(fault) && self.random.below(1000) < per_mille;
        if strikes {
            self.faults.count(fault);
        }
        strikes
    }

    /// A flipped bit costs one client its session, and no other.
    pub fn forgives(&mut self) -> bool {
        let forgives = self.damages > 0;
        self.damages -= u32::from(forgives);
        forgives
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8} {}", self.now.mono_ms - 1_000_000, text());
        }
    }

    /// A mailbox changes: every watch on it says so.
    pub fn change(&mut self, mailbox: usize) {
        let Now { mono_ms: now_ms, wall_us } = self.now;
        let entry = &mut self.mailboxes[mailbox];
        entry.version += 1;
        entry.changed_ms = now_ms;
        entry.changed_us = wall_us;
        if let Some(wds) = entry.wds {
            self.shared.push_back((wds[self.random.below(2) as usize], 0x100));
        }
        for notify in self.notifies.iter_mut().filter(|notify| notify.mailbox == mailbox) {
            notify.readable = true;
        }
        self.say(|| format!("mailbox {mailbox} changes"));
    }

    /// The engine has written `payload`, of which `written` bytes fitted; `blocked`: not even
    /// the framing did.
    pub fn told(&mut self, client: usize, payload: &[u8], written: usize, blocked: bool) {
        let now_ms = self.now.mono_ms;
        let stopping = self.stopping;
        let waits = self.faults.gives_up;
        let jumps = self.faults.is_on(Fault::WallJump);
        let entry = &mut self.clients[client];
        assert!(entry.rest.is_empty(), "written over a cut line of client {client}");
        // What waited for its channel switch counts from its beginning.
        let at_ms = entry.torn_ms.take().unwrap_or(now_ms);
        if payload.starts_with(b"* OK Still here") {
            if blocked {
                return;
            }
            let gap_ms = entry.beat_ms.map_or(u64::MAX, |before| at_ms - before);
            let least_ms = (entry.interval_secs - 1) * 1000;
            assert!(jumps || gap_ms >= least_ms.saturating_sub(400), "beat after {gap_ms} ms");
            entry.beat_ms = Some(at_ms);
        } else if payload.starts_with(b"* BYE") {
            entry.byes += 1;
            assert_eq!(entry.byes, 1, "client {client} is told twice");
            let has_cause = entry.kicked || stopping || waits;
            let damaged = !has_cause && self.forgives();
            assert!(has_cause || damaged, "BYE without cause");
            self.clients[client].damaged |= damaged;
            return;
        } else {
            let bytes = &entry.sent[entry.read..entry.pulled];
            let text = String::from_utf8_lossy(bytes).into_owned();
            // More may have come in the meantime; what is answered is the first.
            let tag = text.strip_prefix("DONE\r\n").and_then(|text| text.split(" IDLE\r\n").next());
            let tag = tag.unwrap_or_else(|| panic!("answered {text:?}"));
            let count = "DONE\r\n".len() + tag.len() + " IDLE\r\n".len();
            let answer = [&entry.tag[..], b" OK Idle completed.\r\n+ idling\r\n"].concat();
            assert_eq!(payload, answer, "the answer to {text:?}");
            entry.answered_in += count;
            entry.read += count;
            entry.tag = tag.as_bytes().to_vec();
        }
        entry.answered_out += written;
        entry.rest = payload[written..].to_vec();
    }
}
