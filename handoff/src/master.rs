//! One conversation with `imap-master`, from connect to verdict. Pure: no syscall, no clock.
//!
//! ```text
//!  connecting ─► greeting ─► first ─► rest ─► reply ─────────────► Taken
//!      │            │          │        │      │ │ └─ refusing ──► Refused
//!      └────────────┴──────────┘        └──────┤ └─── hung up ───► Gone
//!                   │                          │
//!                   ▼                          └─ silence ─ shut ─► Lost
//!                Unsent
//! ```
//! The driver does what a `Step` says, tells the result as an `Event`, and goes on until the step
//! is `Wait` or `Finish`. It reads the socket until it is empty before it tells of a dead worker
//! or a deadline, so that a `+` that is already there always counts.
//!
//! What it guarantees: the descriptor goes out once, and only after the worker's whole VERSION
//! line; before that every end is `Unsent`. After it, the client is ours again only when the
//! worker has said so or has hung up, which Dovecot's worker does without touching the client;
//! silence ends with the client's connection shut down, so that nobody can come to life late.

mod hear;
mod heir;
mod step;

pub use heir::Found;
use nix::errno::Errno;
pub use step::{Event, Step, Timeouts};

use crate::line::{MASTER_VERSION, Reply, parse_reply};
use crate::outcome::{Cause, Outcome};

#[cfg(test)]
mod tests;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    /// VERSION goes out and comes in.
    Greeting,
    /// The worker is there; the descriptor may go.
    First,
    /// The descriptor is gone, the line is not complete.
    Rest,
    /// The line is complete, or the worker does not read any more.
    Reply,
    /// The worker has said no; its text is coming in.
    Refusing,
    /// The worker has hung up without an answer; its pidfd will prove that it is dead.
    HungUp,
    /// Given up: the client's connection is being shut down.
    Shut,
    Over,
}

/// One conversation. See the module's comment.
#[derive(Clone, Debug)]
pub struct Conversation {
    state: State,
    timeouts: Timeouts,
    deadline_ms: u64,
    request_bytes: usize,
    /// Bytes of our VERSION line that went out.
    version_sent: usize,
    /// Bytes of the request that went out; the descriptor went with the first.
    sent: usize,
    /// True exactly when the worker's VERSION line is complete and right.
    is_greeted: bool,
    has_pidfd: bool,
    is_dead: bool,
    /// The greeting until it is complete; then the reply.
    inbox: Vec<u8>,
}

impl Conversation {
    /// A conversation that is about to connect, for a request of `request_bytes`, LF included.
    pub fn new(now_ms: u64, timeouts: &Timeouts, request_bytes: usize) -> Self {
        assert!(request_bytes > 1, "a request is a line, and a line has a byte before its LF");
        Self {
            state: State::Connecting,
            timeouts: *timeouts,
            deadline_ms: now_ms + timeouts.version_ms,
            request_bytes,
            version_sent: 0,
            sent: 0,
            is_greeted: false,
            has_pidfd: false,
            is_dead: false,
            inbox: Vec::new(),
        }
    }

    /// Takes an event. After `Finish` no event may follow.
    pub fn on(&mut self, event: Event<'_>, now_ms: u64) -> Step {
        assert_ne!(self.state, State::Over, "{event:?} after the end");
        let step = match event {
            Event::Connected | Event::ConnectFailed(_) => self.on_connect(event),
            Event::Received { bytes, has_pidfd } => {
                self.has_pidfd |= has_pidfd;
                self.on_received(bytes, now_ms)
            }
            Event::Eof => self.on_eof(now_ms),
            Event::ReceiveFailed(errno) if is_hang_up(errno) => self.on_eof(now_ms),
            Event::ReceiveFailed(errno) => self.on_receive_failed(errno),
            Event::Writable => self.on_writable(),
            Event::Sent { count } => self.on_sent(count, now_ms),
            Event::SendFailed(errno) => self.on_send_failed(errno),
            Event::WorkerDead => self.on_worker_dead(),
            Event::Deadline => self.on_deadline(now_ms),
            Event::ClientShut => {
                assert_eq!(self.state, State::Shut, "the client was shut without being asked for");
                Step::Finish(Outcome::Lost)
            }
            Event::Stop if self.is_unsent() => unsent(Cause::Host(Errno::ECANCELED as i32)),
            Event::Stop => Step::Wait,
        };
        self.check(step);
        step
    }

    /// When to tell `Deadline`.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// True exactly when the worker's death would end the conversation: it has said no, or nothing,
    /// and its descriptors may still be open.
    pub fn awaits_death(&self) -> bool {
        let is_leaving = matches!(self.state, State::Refusing | State::HungUp);
        is_leaving && self.has_pidfd && !self.is_dead
    }

    /// The worker's text, if it has refused; at most 256 bytes as they came.
    pub fn reason(&self) -> &[u8] {
        match parse_reply(&self.inbox) {
            Some(Reply::Refused(text)) if self.sent > 0 => text,
            _ => &[],
        }
    }

    fn on_connect(&mut self, event: Event<'_>) -> Step {
        assert_eq!(self.state, State::Connecting, "a conversation connects once");
        if let Event::ConnectFailed(errno) = event {
            return unsent(connect_cause(errno));
        }
        self.state = State::Greeting;
        Step::SendVersion { from: 0 }
    }

    /// The descriptor goes when both VERSION lines are through.
    fn begin_request(&mut self) -> Step {
        assert_eq!(self.state, State::Greeting);
        if !self.is_greeted || self.version_sent < MASTER_VERSION.len() {
            return Step::Wait;
        }
        self.state = State::First;
        Step::SendFirst
    }

    fn on_writable(&mut self) -> Step {
        match self.state {
            State::Greeting if self.version_sent < MASTER_VERSION.len() => {
                Step::SendVersion { from: self.version_sent }
            }
            State::First => Step::SendFirst,
            State::Rest => Step::SendRest { from: self.sent },
            _ => Step::Wait,
        }
    }

    fn on_sent(&mut self, count: usize, now_ms: u64) -> Step {
        assert!(count > 0, "a send that sent nothing has failed");
        match self.state {
            State::Greeting => {
                self.version_sent += count;
                assert!(self.version_sent <= MASTER_VERSION.len());
                match self.version_sent < MASTER_VERSION.len() {
                    true => Step::SendVersion { from: self.version_sent },
                    false => self.begin_request(),
                }
            }
            State::First | State::Rest => {
                if self.state == State::First {
                    // From here on the worker may act, so its clock starts here.
                    self.deadline_ms = now_ms + self.timeouts.ack_ms;
                    self.state = State::Rest;
                }
                self.sent += count;
                assert!(self.sent <= self.request_bytes);
                if self.sent < self.request_bytes {
                    return Step::SendRest { from: self.sent };
                }
                self.state = State::Reply;
                Step::Wait
            }
            state => panic!("nothing was being sent in {state:?}"),
        }
    }

    fn on_send_failed(&mut self, errno: i32) -> Step {
        match self.state {
            State::Greeting | State::First if is_hang_up(errno) => unsent(Cause::Closed),
            State::Greeting | State::First => unsent(Cause::Host(errno)),
            State::Rest => {
                // The worker may have answered before it hung up: read on, until EOF. Any other
                // failure is tried again when the socket is writable, or ends at the deadline.
                if is_hang_up(errno) {
                    self.state = State::Reply;
                }
                Step::Wait
            }
            state => panic!("nothing was being sent in {state:?}"),
        }
    }

    fn on_worker_dead(&mut self) -> Step {
        self.is_dead = true;
        match self.state {
            State::Connecting | State::Greeting | State::First => unsent(Cause::Closed),
            State::Refusing => Step::Finish(Outcome::Refused),
            State::HungUp => Step::Finish(Outcome::Gone),
            // Dead, yet no EOF: it has left the socket, and perhaps the client, to a child.
            State::Rest | State::Reply | State::Shut | State::Over => Step::Wait,
        }
    }

    fn on_deadline(&mut self, now_ms: u64) -> Step {
        assert!(now_ms >= self.deadline_ms, "the deadline is still to come");
        match self.state {
            State::Connecting | State::Greeting | State::First => unsent(Cause::Silent),
            State::Rest | State::Reply => {
                self.state = State::Shut;
                Step::ShutClient
            }
            State::Refusing => Step::Finish(Outcome::Refused),
            // It has hung up without `+`, so it has not touched the client, dead or not.
            State::HungUp => Step::Finish(Outcome::Gone),
            State::Shut => Step::ShutClient,
            State::Over => unreachable!("on() has refused it"),
        }
    }

    fn is_unsent(&self) -> bool {
        matches!(self.state, State::Connecting | State::Greeting | State::First)
    }

    /// What must hold between a state and the step that follows from it.
    fn check(&mut self, step: Step) {
        assert_eq!(self.sent > 0, !self.is_unsent(), "the descriptor goes with the first byte");
        match step {
            Step::SendFirst => assert!(self.is_greeted && self.sent == 0),
            Step::SendRest { from } => assert!(from > 0 && from < self.request_bytes),
            Step::Finish(outcome) => {
                assert_eq!(matches!(outcome, Outcome::Unsent(_)), self.sent == 0);
                assert_eq!(outcome == Outcome::Lost, self.state == State::Shut);
                self.state = State::Over;
            }
            Step::ShutClient => assert_eq!(self.state, State::Shut),
            Step::SendVersion { .. } | Step::Wait => {}
        }
    }
}

fn unsent(cause: Cause) -> Step {
    Step::Finish(Outcome::Unsent(cause))
}

/// The fate of a failed connect: the backlog, the host, and for all else the listener.
fn connect_cause(errno: i32) -> Cause {
    match Errno::from_raw(errno) {
        Errno::EAGAIN => Cause::Full,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::ENOSPC => {
            Cause::Host(errno)
        }
        _ => Cause::Absent(errno),
    }
}

fn is_hang_up(errno: i32) -> bool {
    matches!(Errno::from_raw(errno), Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN)
}
