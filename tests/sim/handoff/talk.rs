//! One conversation with a simulated worker, who knows nothing of crashes.

use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::master::{Conversation, Event, Step};
use torpor_handoff::message::Wake;

use super::words::take;
use crate::faults::Fault;
use crate::net::{Net, SimFd};

/// How the other side behaves in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    Absent,
    Full,
    SilentBefore,
    BadGreeting,
    ClosesBefore,
    Refuses,
    DiesAfter,
    SilentAfter,
    LateAfter,
}

pub(super) struct Talk {
    pub(super) wake: Wake<SimFd>,
    pub(super) client: usize,
    pub(super) conversation: Conversation,
    pub(super) far: Far,
    pub(super) next: Step,
}

/// The other side of a conversation, which knows nothing of crashes.
pub(super) struct Far {
    pub(super) attempt: u32,
    /// True exactly when the vault holds our end.
    pub(super) is_held: bool,
    pub(super) manner: Manner,
    /// When it next does something.
    pub(super) due_ms: u64,
    pub(super) stage: Stage,
    pub(super) sent_all: bool,
    /// The request, as far as it was sent.
    pub(super) line: Vec<u8>,
    pub(super) said: Said,
}

/// What it has said in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Plus,
    Minus,
    HungUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connect,
    Greet,
    Answer,
    Mute,
}

/// How much of a write fits.
pub(super) fn sent(net: &mut Net, count: usize) -> Event<'static> {
    let partial = count > 1 && net.strikes(Fault::PartialSend, 300);
    Event::Sent {
        count: if partial { 1 + net.random.below(count as u64 - 1) as usize } else { count },
    }
}

impl Talk {
    /// What the other side does now; `None` when nothing.
    pub(super) fn hear(&mut self, net: &mut Net) -> Option<Step> {
        let now_ms = net.now.mono_ms;
        if now_ms >= self.far.due_ms
            && let Some(step) = self.act(net)
        {
            return Some(step);
        }
        if now_ms >= self.conversation.deadline_ms() {
            return Some(self.conversation.on(Event::Deadline, now_ms));
        }
        // A short write is followed by room for more.
        let writable = self.far.stage == Stage::Answer && !self.far.sent_all;
        writable.then(|| self.conversation.on(Event::Writable, now_ms))
    }

    fn act(&mut self, net: &mut Net) -> Option<Step> {
        let now_ms = net.now.mono_ms;
        match self.far.stage {
            Stage::Connect => {
                self.far.stage = Stage::Greet;
                self.far.due_ms = now_ms + net.random.below(200);
                let event = match self.far.manner {
                    Manner::Absent => Event::ConnectFailed(libc::ECONNREFUSED),
                    Manner::Full => Event::ConnectFailed(libc::EAGAIN),
                    _ => Event::Connected,
                };
                Some(self.conversation.on(event, now_ms))
            }
            Stage::Greet => {
                self.far.stage = Stage::Answer;
                self.far.due_ms = now_ms + 50 + net.random.below(200);
                let event = match self.far.manner {
                    Manner::SilentBefore => {
                        self.far.stage = Stage::Mute;
                        return None;
                    }
                    Manner::ClosesBefore => Event::Eof,
                    Manner::BadGreeting => {
                        Event::Received { bytes: b"VERSION\timap\t1\t0\n", has_pidfd: true }
                    }
                    _ => Event::Received { bytes: MASTER_VERSION, has_pidfd: true },
                };
                Some(self.conversation.on(event, now_ms))
            }
            Stage::Answer if self.far.sent_all => self.answer(net),
            Stage::Answer | Stage::Mute => None,
        }
    }

    fn answer(&mut self, net: &mut Net) -> Option<Step> {
        let now_ms = net.now.mono_ms;
        self.far.stage = Stage::Mute;
        self.far.said = match self.far.manner {
            Manner::Refuses => Said::Minus,
            Manner::DiesAfter => Said::HungUp,
            Manner::SilentAfter => Said::Nothing,
            Manner::LateAfter => {
                self.far.manner = Manner::Good;
                self.far.stage = Stage::Answer;
                self.far.due_ms = now_ms + 2000 + net.random.below(3000);
                Said::Nothing
            }
            // Whom we have shut down ourselves finds a worker only if that is told of late.
            _ if net.clients[self.client].shut && self.wake.is_resumed => Said::Plus,
            _ => {
                take(net, self.client, &self.far.line);
                Said::Plus
            }
        };
        self.listen(now_ms)
    }

    /// What the other side has said is heard, and stays to be heard by an heir.
    pub(super) fn listen(&mut self, now_ms: u64) -> Option<Step> {
        let bytes: &[u8] = match self.far.said {
            Said::Nothing => return None,
            Said::Plus => b"+\n",
            Said::Minus => b"-Out of cheese\n",
            Said::HungUp => {
                let step = self.conversation.on(Event::Eof, now_ms);
                let dead = Event::WorkerDead;
                let waits = step == Step::Wait;
                return Some(if waits { self.conversation.on(dead, now_ms) } else { step });
            }
        };
        Some(self.conversation.on(Event::Received { bytes, has_pidfd: false }, now_ms))
    }
}

pub(super) fn manner(net: &mut Net) -> Manner {
    let all = [
        (Fault::MasterAbsent, Manner::Absent),
        (Fault::MasterFull, Manner::Full),
        (Fault::MasterSilent, Manner::SilentBefore),
        (Fault::MasterBadGreeting, Manner::BadGreeting),
        (Fault::MasterCloses, Manner::ClosesBefore),
        (Fault::WorkerRefuses, Manner::Refuses),
        (Fault::WorkerDies, Manner::DiesAfter),
        (Fault::WorkerSilent, Manner::SilentAfter),
        (Fault::WorkerLate, Manner::LateAfter),
    ];
    for (fault, manner) in all {
        // A session that is lost for good is rarer than one that is tried again.
        let often = if manner == Manner::SilentAfter { 10 } else { 100 };
        if net.strikes(fault, often) {
            return manner;
        }
    }
    Manner::Good
}
