//! What must hold, seen from outside: every failure names its invariant in brackets.
//!
//! 1 one owner, 2 no byte lost and none twice, 3 nobody told twice, 4 no lost wake, 7 buffers and
//! 8 places balance, 10 limits are kept, 11 input goes first, 14 nobody is forgotten at the end.

mod hear;

use torpor_handoff::line::MasterRequest;

use crate::session::{Owner, WIDE};
use crate::world::World;

impl World {
    /// The engine reads from or writes to a client.
    pub fn check_hands_off(&mut self, index: u32) {
        let session = &self.sessions[index as usize];
        let serial = session.serial;
        assert_eq!(session.owner, Owner::Engine, "[1] s{serial} is touched");
        assert!(!session.handed, "[1] s{serial} is touched while a worker may have it");
        assert!(self.hand_is_off(index), "[1] s{serial} is touched before its worker closed");
        let now_ms = self.mono_ms;
        let session = &mut self.sessions[index as usize];
        if session.asleep_ms.is_none() {
            (session.asleep_ms, session.beat_ms, session.beats) = (Some(now_ms), now_ms, 0);
        }
    }

    /// A client goes to the handoff thread.
    pub fn check_handed(&mut self, index: u32, parcel: &[u8]) {
        let session = &mut self.sessions[index as usize];
        let serial = session.serial;
        assert_eq!(session.owner, Owner::Engine, "[1] s{serial} is handed on");
        assert!(!session.handed, "[1] s{serial} is handed on twice");
        assert_eq!(session.op, None, "[5] s{serial} is handed on with a recv in flight");
        let user = self.clients[session.client].user;
        let doomed = session.must_go && !self.orders.is_kicking(user);
        assert!(!doomed, "[14] s{serial} is handed on after its kick");
        session.handed = true;
        let has = |key: &[u8]| parcel.windows(key.len()).any(|at| at == key);
        if has(b"\tclient_input=") || has(b"\tclient_output=") {
            return;
        }
        let most = self.swarm.limits.handoffs_in_flight_max + OVERTAKERS_MAX;
        for other in self.sessions.iter_mut().filter(|other| other.live) {
            // Who has half a channel switch waits for himself.
            let waits =
                other.owner == Owner::Engine && !other.handed && !other.tried && !other.is_torn();
            let spoke = other.got > other.acct && !is_partial(&other.sent[other.acct..other.got]);
            if waits && spoke && !other.eof {
                other.overtaken += 1;
                let serial = other.serial;
                assert!(other.overtaken <= most, "[11] s{serial} has spoken, and changes go first");
            }
        }
    }

    /// A worker takes a client with this request.
    pub fn check_taken(&mut self, index: u32, line: &[u8]) {
        let request = MasterRequest::parse(line).expect("a request that a worker understands");
        let mut input = Vec::new();
        request.client_output_into(&mut input);
        self.hear(index, &input, false);
        input.clear();
        request.client_input_into(&mut input);
        let session = &self.sessions[index as usize];
        let serial = session.serial;
        assert_eq!(session.owner, Owner::Engine, "[1] s{serial} has two owners");
        assert_eq!(session.op, None, "[1] s{serial} is still armed");
        if session.write_failed {
            // It has gone, and what it was told last went with it.
            return;
        }
        assert!(session.heard.is_empty(), "[3] s{serial} is left with half a line");
        assert!(!session.is_torn(), "[3] s{serial} is left with half a switch");
        let read = &session.sent[session.acct..session.read];
        let (ours, theirs) = (input.escape_ascii(), read.escape_ascii());
        assert!(input == read, "[2] s{serial}: the worker gets {ours}, the client said {theirs}");
        assert_eq!(request.idle_continue, session.idle, "s{serial}: idle-continue");
        let words = request.line;
        assert_eq!(words.session, Some(format!("s{serial}").as_bytes()), "[1] somebody else");
        assert_eq!(words.tag, session.tag, "[3] s{serial} has another tag");
        assert_eq!(words.multiplex_ostream, session.multiplex);
        assert_eq!(words.auth_token.is_some(), session.token);
        assert_eq!(words.peer.map(|peer| peer.ino), Some(u64::from(serial)));
        assert_eq!(words.state, Some(&b"YmFzZQpC"[..]));
        assert_eq!(words.userdb_fields, Some(&b"uid=5000\x01tgid=5000"[..]));
        assert_eq!(words.statistics.is_some(), session.statistics);
        if let Some(statistics) = words.statistics {
            let (input, output) = (statistics.input_bytes_extra, statistics.output_bytes_extra);
            assert_eq!(input, 1000 + session.bytes_in, "s{serial}: bytes answered");
            assert_eq!(output, 2000 + session.bytes_out, "s{serial}: bytes written");
        }
    }

    /// Nobody holds the connection any more. If it was the engine's, there must be a cause.
    pub fn check_closed(&mut self, index: u32) {
        let session = &self.sessions[index as usize];
        let serial = session.serial;
        assert_eq!(session.op, None, "[6] s{serial} is closed with a recv in flight");
        assert_ne!(session.owner, Owner::Worker, "[1] s{serial} is closed under its worker");
        if session.owner == Owner::Nobody && !session.shut {
            // Its worker let it go, awake; or all was lost.
            return;
        }
        if session.shut || session.eof || session.reset {
            self.clients[session.client].lives += 1;
            return;
        }
        let given_ms = session.given_ms;
        let kicked = self.orders.may_kick(self.clients[session.client].user, given_ms);
        let waited_ms = self.mono_ms - given_ms;
        let [input_ms, change_ms] = [self.orders.input_wait_ms, self.orders.change_wait_ms];
        let waited =
            (input_ms > 0 && waited_ms >= input_ms) || (change_ms > 0 && waited_ms >= change_ms);
        let told = kicked || waited || self.stopping;
        // It had ten seconds, counted from the write, to take the rest of its channel switch.
        let torn = session.is_torn() && session.torn_ms.is_some_and(|at| self.mono_ms > at + 9500);
        assert!(told || torn || session.write_failed, "[1] s{serial} is hung up without cause");
        let hears = session.window == WIDE && session.heard.is_empty() && !session.cut;
        assert!(session.byes == 1 || !hears, "[3] s{serial} goes without a BYE");
        self.clients[session.client].lives += 1;
    }

    /// The handoff thread has given up.
    pub fn check_shut(&mut self, index: u32) {
        let session = &self.sessions[index as usize];
        let serial = session.serial;
        // An engine before this one may have come as far, and was killed then.
        let is_ours = session.owner == Owner::Engine || session.shut;
        assert!(is_ours, "[1] s{serial} is shut down under its worker");
        assert!(session.handed, "[1] s{serial} is shut down in its sleep");
    }

    /// A keepalive is long overdue.
    pub fn check_overdue(&self) {
        for session in self.sessions.iter().filter(|session| session.live) {
            let quiet = session.owner == Owner::Engine
                && !session.handed
                // Who was away whenever a beat was due has missed it.
                && !session.tried
                && !session.eof
                && session.interval_secs > 0
                && session.window == WIDE
                && !session.cut
                && session.asleep_ms.is_some();
            // A beat and a DONE that are found in one step: the answer begins a new IDLE.
            let last_ms = session.beat_ms.max(session.answer_ms).max(self.jumped_ms);
            let most_ms = 2 * u64::from(session.interval_secs) * 1000 + 3000 + self.late_ms;
            let serial = session.serial;
            let since_ms = self.mono_ms - last_ms;
            assert!(
                !quiet || since_ms < most_ms,
                "[4] s{serial} got no keepalive in {since_ms} ms"
            );
        }
    }

    /// Somebody whom the engine owes something, if there is one.
    pub fn debt(&self) -> Option<String> {
        for session in self.sessions.iter().filter(|session| session.live) {
            if session.owner != Owner::Engine {
                continue;
            }
            let serial = session.serial;
            let changed =
                session.mailbox.is_some_and(|number| self.boxes[number].version > session.seen);
            let spoken = session.pending();
            let why = if session.eof || session.reset {
                "has hung up"
            } else if session.must_go {
                "was kicked"
            } else if changed {
                "has a changed mailbox"
            } else if !(spoken.is_empty() || session.idle && is_partial(spoken)) {
                "has spoken"
            } else if session.handed {
                "is with the handoff thread"
            } else {
                continue;
            };
            return Some(format!("[4] s{serial} {why} and is asleep"));
        }
        None
    }
}

/// A piece of `DONE CR LF`, which decides nothing.
fn is_partial(bytes: &[u8]) -> bool {
    let upper = bytes.to_ascii_uppercase();
    b"DONE\r".starts_with(&upper[..])
}

pub const SWITCH: [u8; 4] = [3, 0xFE, 0, 0];
/// Changes that may go before somebody who has spoken: those whose turn had come before.
const OVERTAKERS_MAX: u32 = 8;
