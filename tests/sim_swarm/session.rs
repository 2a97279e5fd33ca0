//! One connection of a client: the bytes in both directions, and whose it is.
//!
//! ```text
//!  sent:  [ accounted ][ read by the engine ][ in the socket ]
//!         0            acct                  read            len
//! ```
//! A byte is accounted for when a worker has read it or the engine has answered it.

use crate::checkers::SWITCH;
use crate::faults::Fault;
use crate::world::{File, World, place};

pub struct Session {
    pub live: bool,
    pub client: usize,
    /// The number in its session id.
    pub serial: u32,
    /// Holders of the server's end.
    pub refs: u32,
    pub owner: Owner,
    /// True exactly when the client's end is open.
    pub attached: bool,
    pub sent: Vec<u8>,
    pub read: usize,
    pub acct: usize,
    pub eof: bool,
    pub reset: bool,
    /// Shut down by us in both directions.
    pub shut: bool,
    /// Bytes that the client's end still takes.
    pub window: u32,
    /// The recv that the kernel holds.
    pub op: Option<u32>,
    /// What the client has got and not understood yet: half a line.
    pub heard: Vec<u8>,
    pub unix: bool,
    pub multiplex: bool,
    /// Bytes of the channel switch that have come in this sleep.
    pub switch: usize,
    /// Since when the client has had half of it, or had until it got the rest.
    pub torn_ms: Option<u64>,
    pub tag: Vec<u8>,
    /// Dialect: what the line of its worker has.
    pub statistics: bool,
    pub token: bool,
    pub idle: bool,
    pub interval_secs: u32,
    pub mailbox: Option<usize>,
    /// The version of the mailbox that a worker has seen.
    pub seen: u64,
    /// Of this sleep: bytes that the engine answered, and payload that it wrote.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// When the engine may touch it, and when it last got a keepalive.
    pub asleep_ms: Option<u64>,
    /// When the last `+` went out.
    pub given_ms: u64,
    pub beat_ms: u64,
    /// When its DONE and IDLE were answered last.
    pub answer_ms: u64,
    pub byes: u32,
    /// With the handoff thread.
    pub handed: bool,
    /// Kicked: it has to go, unless a worker takes it first.
    pub must_go: bool,
    pub write_failed: bool,
    /// A write failed or was cut short in this sleep.
    pub cut: bool,
    pub beats: u32,
    /// Bytes that the core has got.
    pub got: usize,
    /// A handoff has failed in this sleep.
    pub tried: bool,
    /// Changes that were handed on while this client, which has spoken, waited.
    pub overtaken: u32,
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Worker,
    Engine,
    Nobody,
}

impl Session {
    /// A recv would bring bytes, an end or an error.
    pub fn is_ready(&self) -> bool {
        self.sent.len() > self.read || self.eof || self.reset || self.shut
    }

    /// The client has half of a channel switch.
    pub fn is_torn(&self) -> bool {
        (1..SWITCH.len()).contains(&self.switch)
    }

    fn new() -> Self {
        Self {
            live: false,
            client: 0,
            serial: 0,
            refs: 0,
            owner: Owner::Nobody,
            attached: false,
            sent: Vec::with_capacity(256),
            read: 0,
            acct: 0,
            eof: false,
            reset: false,
            shut: false,
            window: WIDE,
            op: None,
            heard: Vec::with_capacity(256),
            unix: false,
            multiplex: false,
            switch: 0,
            torn_ms: None,
            tag: Vec::with_capacity(160),
            statistics: false,
            token: false,
            idle: true,
            interval_secs: 0,
            mailbox: None,
            seen: 0,
            bytes_in: 0,
            bytes_out: 0,
            asleep_ms: None,
            given_ms: 0,
            beat_ms: 0,
            answer_ms: 0,
            byes: 0,
            handed: false,
            must_go: false,
            write_failed: false,
            cut: false,
            beats: 0,
            got: 0,
            tried: false,
            overtaken: 0,
        }
    }

    /// Bytes that nobody has accounted for.
    pub fn pending(&self) -> &[u8] {
        &self.sent[self.acct..]
    }

    /// A worker has read everything.
    pub fn consume(&mut self) {
        self.sent.clear();
        (self.read, self.acct, self.got) = (0, 0, 0);
    }

    /// True when the client can be talked to.
    pub fn is_reachable(&self) -> bool {
        self.attached && !self.shut && !self.reset
    }
}

impl World {
    /// A client logs in: its worker has it.
    pub fn log_in(&mut self, client: usize) -> u32 {
        let index = place(&mut self.sessions, |session| session.live, Session::new);
        self.serial += 1;
        let serial = self.serial;
        let dialect = self.random.below(4);
        let mailbox = (!self.random.one_in(5)).then(|| self.random.below(self.swarm.boxes));
        let (heard, sent) = {
            let old = &mut self.sessions[index];
            (std::mem::take(&mut old.heard), std::mem::take(&mut old.sent))
        };
        let tag = std::mem::take(&mut self.sessions[index].tag);
        let (unix, idle) = (self.random.one_in(3), !self.random.one_in(12));
        let interval_secs = self.random.pick(&[0, 0, 3, 7, 15]);
        let multiplex = dialect >= 2 && self.random.one_in(4);
        let session = &mut self.sessions[index];
        *session = Session { heard, sent, tag, ..Session::empty() };
        session.heard.clear();
        session.sent.clear();
        (session.live, session.attached, session.client) = (true, true, client);
        (session.serial, session.refs, session.owner) = (serial, 1, Owner::Worker);
        (session.unix, session.idle, session.multiplex) = (unix, idle, multiplex);
        (session.statistics, session.token) = (dialect >= 1, dialect >= 3);
        session.interval_secs = interval_secs;
        session.mailbox = mailbox.map(|number| number as usize);
        self.new_tag(index as u32);
        self.tell(|| format!("client {client} logs in as s{serial}"));
        index as u32
    }

    /// The client begins a new IDLE.
    pub fn new_tag(&mut self, index: u32) {
        self.serial += 1;
        let serial = self.serial;
        let long = self.fault(Fault::LongTag, 4);
        let tag = &mut self.sessions[index as usize].tag;
        tag.clear();
        push_number(tag, b"t", serial);
        if long {
            tag.resize(100 + serial as usize % 29, b'x');
        }
    }

    /// What a send to a client comes to.
    pub fn send_client(&mut self, index: u32, text: u32) -> i32 {
        let session = &self.sessions[index as usize];
        if !session.is_reachable() {
            self.fell(Fault::SendFails);
            self.sessions[index as usize].write_failed = true;
            return -self.random.pick(&[libc::EPIPE, libc::ECONNRESET]);
        }
        if self.fault(Fault::SendFails, 12) {
            self.sessions[index as usize].cut = true;
            return -self.random.pick(&[libc::ENOBUFS, libc::ENOMEM, libc::EINTR]);
        }
        let bytes = self.kernel.bytes(text).to_vec();
        let session = &mut self.sessions[index as usize];
        let count = bytes.len().min(session.window as usize);
        if session.window < WIDE {
            session.window -= count as u32;
        }
        let (whole, blocked) = (bytes.len(), count == 0);
        session.cut |= count < whole;
        self.hear(index, &bytes[..count], true);
        match (blocked, count < whole) {
            (true, _) => self.fell(Fault::SendBlocked),
            (_, true) => self.fell(Fault::SendShort),
            _ => {}
        }
        if blocked { -libc::EAGAIN } else { count as i32 }
    }

    /// Nobody holds the server's end any more: the client sees the end.
    pub fn session_closed(&mut self, index: u32) {
        self.check_closed(index);
        let session = &mut self.sessions[index as usize];
        session.live = false;
        session.owner = Owner::Nobody;
        let (client, serial, attached) = (session.client, session.serial, session.attached);
        session.attached = false;
        self.tell(|| format!("s{serial} is closed"));
        if attached {
            self.client_dropped(client);
        }
    }

    /// shutdown(SHUT_RDWR): nobody may revive it.
    pub fn shut(&mut self, index: u32) {
        self.check_shut(index);
        let session = &mut self.sessions[index as usize];
        session.shut = true;
        session.owner = Owner::Nobody;
        let serial = session.serial;
        self.tell(|| format!("s{serial} is shut down"));
    }

    /// The client's end closes, or half of it, or with a reset.
    pub fn hang_up(&mut self, index: u32, reset: bool, half: bool) {
        let session = &mut self.sessions[index as usize];
        session.eof = true;
        session.reset |= reset;
        session.attached &= half;
        let op = session.op;
        self.kernel.stir(op);
        self.stir_item(index);
    }

    /// Bytes of the client reach the socket.
    pub fn speak(&mut self, index: u32, bytes: &[u8]) {
        let session = &mut self.sessions[index as usize];
        if session.eof || session.shut {
            return;
        }
        session.sent.extend_from_slice(bytes);
        let (op, serial, owner) = (session.op, session.serial, session.owner);
        self.kernel.stir(op);
        self.stir_item(index);
        self.tell(|| format!("s{serial} says {} ({owner:?})", bytes.escape_ascii()));
        if owner == Owner::Worker && self.hand_of(index).is_none() {
            self.worker_reads(index);
        }
    }

    /// An awake worker reads what there is, and the client begins anew.
    pub fn worker_reads(&mut self, index: u32) {
        if !self.sessions[index as usize].pending().is_empty() {
            self.sessions[index as usize].consume();
            self.new_tag(index);
        }
    }

    /// The worker of an awake session lets its descriptor go.
    pub fn worker_drops(&mut self, index: u32) {
        assert_eq!(self.sessions[index as usize].owner, Owner::Worker);
        self.sessions[index as usize].owner = Owner::Nobody;
        self.close(File::Session(index));
    }
}

impl Session {
    fn empty() -> Self {
        let mut session = Self::new();
        (session.sent, session.heard, session.tag) = Default::default();
        session
    }
}

pub fn push_number(out: &mut Vec<u8>, before: &[u8], number: u32) {
    out.extend_from_slice(before);
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A client whose end takes everything.
pub const WIDE: u32 = 1 << 30;
