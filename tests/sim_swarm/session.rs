//! One connection of a client: the bytes in both directions, and whose it is.
//!
//! ```text
//!  sent:  [ accounted ][ read by the engine ][ in the socket ]
//!         0            acct                  read            len
//! ```
//! A byte is accounted for when a worker has read it or the engine has answered it.

mod deeds;

use crate::checkers::SWITCH;

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
    /// Its worker has begun to hibernate it since it took it.
    pub is_offered: bool,
    /// A handoff has failed in this sleep.
    pub tried: bool,
    /// Changes that were handed on while this client, which has spoken, waited.
    pub overtaken: u32,
    /// Its engine has died while there was no keeper: whoever is left may have it or drop it.
    pub lost: bool,
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
            is_offered: false,
            tried: false,
            overtaken: 0,
            lost: false,
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
