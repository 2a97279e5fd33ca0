//! What the worker says, and that it says nothing any more.

use super::{Conversation, State, Step, unsent};
use crate::line::{REASON_BYTES_MAX, Reply, check_version, parse_reply};
use crate::outcome::{Cause, Outcome};

impl Conversation {
    pub(super) fn on_received(&mut self, bytes: &[u8], now_ms: u64) -> Step {
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

    pub(super) fn on_eof(&mut self, now_ms: u64) -> Step {
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
    pub(super) fn on_receive_failed(&mut self, errno: i32) -> Step {
        match self.state {
            State::Refusing => Step::Finish(Outcome::Refused),
            _ if self.is_unsent() => unsent(Cause::Host(errno)),
            _ => Step::Wait,
        }
    }
}

/// A VERSION line has 24 bytes. Who sends more than this without a right one is somebody else.
pub(super) const GREETING_BYTES_MAX: usize = 1024;
