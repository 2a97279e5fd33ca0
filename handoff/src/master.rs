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

use nix::errno::Errno;

use crate::line::{MASTER_VERSION, REASON_BYTES_MAX, Reply, check_version, parse_reply};
use crate::outcome::{Cause, Outcome};

#[cfg(test)]
mod tests;

/// How long a conversation waits, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From connect to the descriptor: forking a worker takes 4 to 21 ms, a queue of them longer.
    pub version_ms: u64,
    /// From the descriptor to the worker's answer.
    pub ack_ms: u64,
    /// For the proof that a worker that hung up is dead, and for the rest of a refusal's text.
    pub exit_ms: u64,
}

/// What has happened. Errnos are those of the call that the last step asked for.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    Connected,
    ConnectFailed(i32),
    /// Bytes from the worker; `has_pidfd` if a pidfd of it came with them or before.
    Received {
        bytes: &'a [u8],
        has_pidfd: bool,
    },
    ReceiveFailed(i32),
    /// The socket may take more.
    Writable,
    /// So many bytes of what the last step asked for went out.
    Sent {
        count: usize,
    },
    /// Nothing went out. EAGAIN is no failure: wait for `Writable`.
    SendFailed(i32),
    Eof,
    /// The worker's process has ended, and the socket was read until it was empty.
    WorkerDead,
    /// `deadline_ms` has come, and the socket was read until it was empty.
    Deadline,
    /// The client's connection is shut down.
    ClientShut,
    /// The host wants to end: what has not been sent comes back at once.
    Stop,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until an event or `deadline_ms`.
    Wait,
    /// Send `MASTER_VERSION[from..]`.
    SendVersion { from: usize },
    /// Send the first byte of the request, together with the client's descriptor.
    SendFirst,
    /// Send the request from here on. Without a descriptor.
    SendRest { from: usize },
    /// Shut the client's connection down in both directions, then tell `ClientShut`.
    ShutClient,
    /// It is over. No event may follow.
    Finish(Outcome),
}

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

    fn on_received(&mut self, bytes: &[u8], now_ms: u64) -> Step {
        match self.state {
            State::Greeting => self.on_greeting(bytes),
            // Whoever answers before it was asked is no imap-master.
            State::Connecting | State::First => unsent(Cause::BadGreeting),
            State::Rest | State::Reply | State::Refusing => self.on_reply(bytes, now_ms),
            State::HungUp | State::Shut | State::Over => Step::Wait,
        }
    }

    fn on_greeting(&mut self, bytes: &[u8]) -> Step {
        if self.is_greeted || self.inbox.len() + bytes.len() > GREETING_BYTES_MAX {
            return unsent(Cause::BadGreeting);
        }
        self.inbox.extend_from_slice(bytes);
        let Some(end) = self.inbox.iter().position(|&byte| byte == b'\n') else {
            return Step::Wait;
        };
        let line = &self.inbox[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if end + 1 < self.inbox.len() || check_version(line, "imap-master").is_err() {
            return unsent(Cause::BadGreeting);
        }
        self.is_greeted = true;
        self.inbox.clear();
        self.begin_request()
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

    fn on_reply(&mut self, bytes: &[u8], now_ms: u64) -> Step {
        assert!(self.sent > 0);
        let room = REASON_BYTES_MAX + 1 - self.inbox.len();
        self.inbox.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match parse_reply(&self.inbox) {
            None => Step::Wait,
            Some(Reply::Taken) => Step::Finish(Outcome::Taken),
            Some(Reply::Refused(_)) => {
                if self.inbox.contains(&b'\n') || self.inbox.len() > REASON_BYTES_MAX {
                    return Step::Finish(Outcome::Refused);
                }
                if self.state != State::Refusing {
                    self.state = State::Refusing;
                    self.deadline_ms = now_ms + self.timeouts.exit_ms;
                }
                Step::Wait
            }
        }
    }

    fn on_eof(&mut self, now_ms: u64) -> Step {
        match self.state {
            State::Connecting | State::Greeting | State::First => unsent(Cause::Closed),
            State::Rest | State::Reply if self.has_pidfd && !self.is_dead => {
                self.state = State::HungUp;
                self.deadline_ms = now_ms + self.timeouts.exit_ms;
                Step::Wait
            }
            State::Rest | State::Reply => Step::Finish(Outcome::Gone),
            State::Refusing => Step::Finish(Outcome::Refused),
            State::HungUp | State::Shut | State::Over => Step::Wait,
        }
    }

    /// A failure of our own: what was not sent comes back, what was sent waits for its deadline.
    fn on_receive_failed(&mut self, errno: i32) -> Step {
        match self.state {
            State::Refusing => Step::Finish(Outcome::Refused),
            _ if self.is_unsent() => unsent(Cause::Host(errno)),
            _ => Step::Wait,
        }
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

/// A VERSION line has 24 bytes. Who sends more than this without a right one is somebody else.
const GREETING_BYTES_MAX: usize = 1024;
