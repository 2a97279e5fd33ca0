//! What clients do: speak, wait, hang up, come back.

use crate::faults::Fault;
use crate::hand::HandEnd;
use crate::session::{Owner, WIDE};
use crate::world::World;

pub struct Client {
    pub user: u32,
    pub session: Option<u32>,
    /// When the client next does something.
    pub act_ms: u64,
    /// When its worker hibernates it, or when it logs in again.
    pub step_ms: u64,
    /// What is left to say of what it has begun.
    pub rest: Vec<u8>,
    /// Sleeps that ended with a worker, or for good.
    pub lives: u32,
    /// True exactly when it wants no more sleep.
    pub sated: bool,
}

impl Client {
    pub fn new(user: u32, begin_ms: u64) -> Self {
        Self {
            user,
            session: None,
            act_ms: begin_ms,
            step_ms: begin_ms,
            rest: Vec::with_capacity(256),
            lives: 0,
            sated: false,
        }
    }
}

impl World {
    pub fn run_clients(&mut self) {
        for client in 0..self.clients.len() {
            if self.clients[client].step_ms <= self.mono_ms {
                self.step_client(client);
            }
            if self.clients[client].act_ms <= self.mono_ms {
                self.act(client);
            }
        }
    }

    /// The worker's side: log in, or hibernate.
    fn step_client(&mut self, client: usize) {
        let rest_ms = u64::from(self.swarm.rest_ms);
        self.clients[client].step_ms = self.mono_ms + rest_ms;
        if self.closing && self.clients[client].lives > 0 {
            self.clients[client].sated = true;
        }
        if self.clients[client].sated || self.stopping {
            return;
        }
        let Some(session) = self.clients[client].session else {
            let session = self.log_in(client);
            self.clients[client].session = Some(session);
            self.clients[client].step_ms = self.mono_ms + self.random.ms(1, 300);
            return;
        };
        if self.sessions[session as usize].owner != Owner::Worker || self.hand_of(session).is_some()
        {
            return;
        }
        if self.sessions[session as usize].eof {
            // Its worker sees the end, and ends.
            self.clients[client].session = None;
            self.sessions[session as usize].attached = false;
            self.worker_drops(session);
            return;
        }
        self.hibernate(session);
    }

    /// A hibernation attempt is over.
    pub fn hand_ended(&mut self, session: u32, end: HandEnd) {
        let client = self.sessions[session as usize].client;
        let pause_ms = match (end, self.calm) {
            (HandEnd::Kept, true) => self.random.ms(200, 3000),
            (HandEnd::Given, _) => self.random.ms(10, self.swarm.rest_ms),
            (HandEnd::Kept, _) => self.random.ms(50, 1000),
        };
        self.clients[client].step_ms = self.mono_ms + pause_ms;
    }

    /// The client finds its connection closed.
    pub fn client_dropped(&mut self, client: usize) {
        let pause_ms = self.random.ms(100, 2000);
        let entry = &mut self.clients[client];
        entry.session = None;
        entry.rest.clear();
        entry.step_ms = self.mono_ms + pause_ms;
    }

    /// The client's own deed.
    fn act(&mut self, client: usize) {
        self.clients[client].act_ms = self.mono_ms + self.random.ms(20, self.swarm.rest_ms);
        let Some(session) = self.clients[client].session else { return };
        if self.sessions[session as usize].window < WIDE && self.random.one_in(2) {
            self.sessions[session as usize].window = WIDE;
        }
        let mut rest = std::mem::take(&mut self.clients[client].rest);
        if !rest.is_empty() {
            let count = if self.calm { rest.len() } else { self.piece(rest.len()) };
            self.speak(session, &rest[..count]);
            rest.drain(..count);
        } else if !self.calm {
            self.choose(client, session, &mut rest);
        } else if self.closing && self.is_asleep(session) {
            self.sessions[session as usize].window = WIDE;
            self.speak(session, b"DONE\r\n");
        }
        if !rest.is_empty() {
            self.clients[client].act_ms = self.mono_ms + self.random.ms(0, 300);
        }
        self.clients[client].rest = rest;
    }

    fn is_asleep(&self, session: u32) -> bool {
        let session = &self.sessions[session as usize];
        session.owner == Owner::Engine && !session.eof && session.pending().is_empty()
    }

    fn piece(&mut self, most: usize) -> usize {
        if self.fault(Fault::DoneSplit, 2) {
            self.random.range(1, most.min(4) as u32) as usize
        } else {
            most
        }
    }

    fn choose(&mut self, client: usize, session: u32, rest: &mut Vec<u8>) {
        if self.leaves(client, session) {
            return;
        }
        let roll = self.random.below(6);
        if roll == 0 && self.swarm.enabled & Fault::SendBlocked.bit() != 0 {
            let window = self.random.pick(&[0, 3, 4, 5, 10, 30]);
            self.sessions[session as usize].window = window;
        }
        if self.fault(Fault::DoneIdle, 2) {
            self.done_idle(session, rest);
        } else if self.fault(Fault::Pipelined, 4) {
            rest.extend_from_slice(b"DONE\r\nx1 NOOP\r\nx2 NOOP\r\n");
        } else if self.fault(Fault::Garbage, 8) {
            let words: [&[u8]; 6] =
                [b"FOO BAR\r\n", b"\r\n", b"DONE \r\n", b"\0\0\0", b"DONE\r\r\n", b"donut\n"];
            rest.extend_from_slice(self.random.pick(&words));
        } else if self.fault(Fault::Flood, 16) {
            let count = self.random.range(100, 700) as usize;
            rest.extend((0..count).map(|at| b'a' + (at % 26) as u8));
        } else if roll < 3 {
            let words: [&[u8]; 4] = [b"DONE\r\n", b"done\n", b"DoNe\r\n", b"DONE\n"];
            rest.extend_from_slice(self.random.pick(&words));
        }
        if !rest.is_empty() {
            let count = self.piece(rest.len());
            self.speak(session, &rest[..count]);
            rest.drain(..count);
        }
    }

    fn done_idle(&mut self, session: u32, rest: &mut Vec<u8>) {
        self.serial += 1;
        rest.extend_from_slice(self.random.pick(&[b"DONE\r\n", b"done\r\n"]));
        crate::session::push_number(rest, b"i", self.serial);
        if self.fault(Fault::LongTag, 3) {
            rest.resize(6 + 128, b'y');
        }
        let ends: [&[u8]; 2] = [b" IDLE\r\n", b" idle\n"];
        rest.extend_from_slice(self.random.pick(&ends));
        let _ = session;
    }

    /// Hang-ups of all kinds.
    fn leaves(&mut self, client: usize, session: u32) -> bool {
        let (reset, half) = if self.fault(Fault::Reset, 24) {
            (true, false)
        } else if self.fault(Fault::HangUp, 24) {
            (false, false)
        } else if self.fault(Fault::HalfClose, 24) {
            (false, true)
        } else {
            return false;
        };
        self.depart(client, session, reset, half);
        true
    }

    /// The client goes, and comes back later as somebody else.
    pub fn depart(&mut self, client: usize, session: u32, reset: bool, half: bool) {
        let serial = self.sessions[session as usize].serial;
        self.tell(|| format!("s{serial} hangs up (reset {reset}, half {half})"));
        if half && self.sessions[session as usize].owner == Owner::Engine && self.random.one_in(2) {
            self.speak(session, b"DONE\r\n");
        }
        self.hang_up(session, reset, half);
        if half {
            return;
        }
        self.client_dropped(client);
        let entry = &self.sessions[session as usize];
        if entry.owner == Owner::Worker && self.hand_of(session).is_none() {
            self.worker_drops(session);
        }
    }
}
