//! Any bytes and any mishaps of an `imap-master`: the descriptor goes out once and late enough,
//! and the verdict is the one that the bytes have earned.

use nix::errno::Errno;
use torpor_handoff::line::{MASTER_VERSION, REASON_BYTES_MAX, Reply, parse_reply};
use torpor_handoff::master::{Conversation, Event, Step, Timeouts};
use torpor_handoff::message::Outcome;

use super::plan::pieces;

/// A deed: `ooommddd`, what happens before the next bytes, with which errno and how short a send.
pub fn run(input: &[u8]) {
    let pieces = pieces(input);
    let mut master = Master::new();
    for (deed, piece) in &pieces {
        master.happen(*deed);
        if !piece.is_empty() && !master.deaf {
            master.heard.extend_from_slice(piece);
            let has_pidfd = deed & 0x20 != 0;
            master.tell(Event::Received { bytes: piece, has_pidfd });
        }
    }
    master.end();
    master.check();
    let bytes: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect();
    texts(&bytes);
}

/// A conversation, what it was told and what it did.
struct Master {
    talk: Conversation,
    now_ms: u64,
    /// All that the worker said while it was listened to.
    heard: Vec<u8>,
    /// How much of it had come when the descriptor went.
    heard_before: usize,
    /// Of each send, at most this much goes out.
    room: usize,
    /// What the last step asked for and is not done yet.
    asked: Option<Step>,
    version_sent: usize,
    descriptors: u32,
    deaf: bool,
    shut: bool,
    outcome: Option<Outcome>,
}

impl Master {
    fn new() -> Self {
        let mut master = Self {
            talk: Conversation::new(0, &TIMEOUTS, REQUEST_BYTES),
            now_ms: 0,
            heard: Vec::new(),
            heard_before: 0,
            room: usize::MAX,
            asked: None,
            version_sent: 0,
            descriptors: 0,
            deaf: false,
            shut: false,
            outcome: None,
        };
        master.tell(Event::Connected);
        master
    }

    fn happen(&mut self, deed: u8) {
        self.room = if deed & 0x40 != 0 { 1 + usize::from(deed >> 3 & 7) } else { usize::MAX };
        let errno = ERRNOS[usize::from(deed >> 3 & 3)] as i32;
        match deed & 7 {
            1 => self.tell(Event::Writable),
            2 => self.fail(errno),
            3 => self.hush(Event::Eof),
            4 => self.hush(Event::ReceiveFailed(errno)),
            5 => self.tell(Event::WorkerDead),
            6 => self.late(),
            7 => self.tell(Event::Stop),
            _ => {}
        }
    }

    /// Time goes by until the conversation wants to be told.
    fn late(&mut self) {
        if self.outcome.is_none() {
            self.now_ms = self.now_ms.max(self.talk.deadline_ms());
            self.tell(Event::Deadline);
        }
    }

    /// The socket has said its last.
    fn hush(&mut self, event: Event<'_>) {
        if !self.deaf {
            self.deaf = true;
            self.tell(event);
        }
    }

    /// A send that was short blocks; now it fails for good.
    fn fail(&mut self, errno: i32) {
        if self.asked.take().is_some() {
            self.tell(Event::SendFailed(errno));
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        if self.outcome.is_some() {
            return;
        }
        let mut step = self.talk.on(event, self.now_ms);
        // A step whose send was short goes on when the socket is writable.
        while let Some(sent) = self.take(step) {
            step = self.talk.on(sent, self.now_ms);
        }
    }

    /// Does a step; the event that follows at once.
    fn take(&mut self, step: Step) -> Option<Event<'static>> {
        self.asked = None;
        let left = match step {
            Step::Wait => return None,
            Step::Finish(outcome) => {
                self.outcome = Some(outcome);
                return None;
            }
            Step::ShutClient => {
                assert!(self.descriptors == 1 && !self.shut);
                self.shut = true;
                return Some(Event::ClientShut);
            }
            Step::SendVersion { from } => {
                assert_eq!(from, self.version_sent);
                MASTER_VERSION.len() - from
            }
            Step::SendFirst => 1,
            Step::SendRest { from } => REQUEST_BYTES - from,
        };
        let count = left.min(self.room);
        self.room -= count;
        if count == 0 {
            self.asked = Some(step);
            return None;
        }
        match step {
            Step::SendVersion { .. } => self.version_sent += count,
            Step::SendFirst => {
                self.descriptors += 1;
                self.heard_before = self.heard.len();
            }
            _ => {}
        }
        Some(Event::Sent { count })
    }

    /// Whatever is still to come comes: the worker hangs up, dies, and time goes by.
    fn end(&mut self) {
        self.room = usize::MAX;
        self.tell(Event::Writable);
        self.hush(Event::Eof);
        self.tell(Event::WorkerDead);
        for _ in 0..3 {
            self.late();
        }
    }

    fn check(&self) {
        let outcome = self.outcome.expect("a conversation comes to an end");
        let heard = self.heard.escape_ascii();
        assert_eq!(self.descriptors, u32::from(!matches!(outcome, Outcome::Unsent(_))), "{heard}");
        assert_eq!(self.shut, outcome == Outcome::Lost, "{heard}");
        if self.descriptors == 0 {
            return;
        }
        let (greeting, answer) = self.heard.split_at(self.heard_before);
        assert!(is_greeting(greeting), "{}", greeting.escape_ascii());
        let first = answer.first();
        match outcome {
            Outcome::Taken => assert_eq!(first, Some(&b'+'), "{heard}"),
            Outcome::Refused => assert!(first.is_some_and(|byte| *byte != b'+'), "{heard}"),
            // Silence, or words that came after the client was given up.
            Outcome::Gone | Outcome::Lost => {}
            Outcome::Unsent(_) => unreachable!("the descriptor went"),
        }
        let reason = self.talk.reason();
        assert!(reason.len() <= REASON_BYTES_MAX && !reason.contains(&b'\n'));
        assert!(reason.is_empty() || outcome == Outcome::Refused);
    }
}

/// The one line that may come before the descriptor goes; its minor version is any number.
fn is_greeting(bytes: &[u8]) -> bool {
    let Some(line) = bytes.strip_suffix(b"\n") else { return false };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let minor = line.strip_prefix(b"VERSION\timap-master\t1\t");
    let minor = minor.or_else(|| {
        // Leading zeros are no other number.
        let rest = line.strip_prefix(b"VERSION\timap-master\t0")?;
        let rest = &rest[rest.iter().position(|byte| *byte != b'0')?..];
        rest.strip_prefix(b"1\t")
    });
    minor.is_some_and(|minor| !minor.is_empty() && minor.iter().all(u8::is_ascii_digit))
}

/// The verdict is clear from the first byte and stays what it was, however much more comes.
fn texts(bytes: &[u8]) {
    let taken = bytes.first().map(|first| *first == b'+');
    for end in [1, 2, 200, 257, 300, bytes.len()] {
        let Some(reply) = bytes.get(..end).and_then(parse_reply) else { continue };
        assert_eq!(Some(reply == Reply::Taken), taken);
        if let Reply::Refused(text) = reply {
            assert!(text.len() <= REASON_BYTES_MAX && bytes[1..].starts_with(text));
        }
    }
}

const TIMEOUTS: Timeouts = Timeouts { version_ms: 1000, ack_ms: 2000, exit_ms: 500 };
const REQUEST_BYTES: usize = 40;
const ERRNOS: [Errno; 4] = [Errno::EPIPE, Errno::ECONNRESET, Errno::ENOBUFS, Errno::ETOOMANYREFS];
