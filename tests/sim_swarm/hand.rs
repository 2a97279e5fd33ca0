//! A worker that hibernates its client, honestly or not, over a hibernate connection.

use torpor_engine::ring::Peer;

use crate::faults::{Fault, WORKER_UID};
use crate::world::{File, World, place};

pub struct Hand {
    pub live: bool,
    /// Holders of the engine's end.
    pub refs: u32,
    pub session: u32,
    pub peer: Peer,
    pub begun_ms: u64,
    pub accepted_ms: Option<u64>,
    pub engine_closed: bool,
    pub worker_closed: bool,
    /// Bytes to the engine, and those of them that are read.
    pub inbound: Vec<u8>,
    pub read: usize,
    pub marks: Vec<Mark>,
    /// The recv that the kernel holds.
    pub op: Option<u32>,
    pub step: Step,
    pub due_ms: u64,
    pub plan: Plan,
    /// At which step the worker hangs up or stalls.
    at: Step,
    pub line: Vec<u8>,
    pub line_sent: usize,
    pub notify: Option<u32>,
    pub pluses: u32,
    pub pluses_needed: u32,
    pub refused: bool,
    /// When the last `+` went out.
    pub given_ms: Option<u64>,
    /// True exactly when the worker has said what ends the conversation.
    pub broken: bool,
}

/// A message with descriptors in the bytes to the engine.
#[derive(Clone, Copy)]
pub struct Mark {
    pub at: usize,
    pub end: usize,
    pub files: [Option<File>; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Version,
    Line,
    Plus,
    Notify,
    Last,
    Close,
    Over,
}

/// What is wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Honest,
    Split,
    Hostile(Fault),
    HangsUp,
    Stalls,
    ClosesLate,
    SecondLine,
    Early,
    DescriptorLate,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandEnd {
    Given,
    Kept,
}

impl World {
    pub fn hand_of(&self, session: u32) -> Option<usize> {
        self.hands
            .iter()
            .position(|hand| hand.live && hand.session == session && hand.step != Step::Over)
    }

    fn plan(&mut self) -> Plan {
        const HOSTILE: [Fault; 13] = [
            Fault::LineEndless,
            Fault::LineLong,
            Fault::LineEscape,
            Fault::LineField,
            Fault::LineNul,
            Fault::VersionWrong,
            Fault::TwoDescriptors,
            Fault::NoDescriptor,
            Fault::WrongDescriptor,
            Fault::WrongInode,
            Fault::NotifyWrong,
            Fault::NotifyAbsent,
            Fault::NotifyText,
        ];
        let hostile = self.random.pick(&HOSTILE);
        if self.fault(Fault::WorkerHangsUp, 10) {
            Plan::HangsUp
        } else if self.fault(Fault::WorkerStalls, 16) {
            Plan::Stalls
        } else if self.fault(Fault::CloseLate, 10) {
            Plan::ClosesLate
        } else if self.fault(Fault::SecondLine, 16) {
            Plan::SecondLine
        } else if self.fault(Fault::NotifyEarly, 8) {
            Plan::Early
        } else if self.fault(Fault::DescriptorLate, 10) {
            Plan::DescriptorLate
        } else if self.fault(hostile, 5) {
            Plan::Hostile(hostile)
        } else if self.fault(Fault::LineSplit, 3) {
            Plan::Split
        } else {
            Plan::Honest
        }
    }

    /// A worker begins to hibernate its client.
    pub fn hibernate(&mut self, session: u32) {
        let plan = self.plan();
        let wrong_peer = self.fault(Fault::WrongPeer, 12);
        let mailbox = self.sessions[session as usize].mailbox;
        let mut notify = None;
        if let Some(number) = mailbox {
            self.sessions[session as usize].seen = self.boxes[number].version;
            if self.fault(Fault::ChangeLate, 6) {
                self.change(number);
            }
            notify = Some(self.make_notify(session));
        }
        let index = place(&mut self.hands, |hand| hand.live, Hand::new);
        let at =
            self.random.pick(&[Step::Version, Step::Line, Step::Plus, Step::Notify, Step::Last]);
        let due_ms = self.mono_ms + self.random.ms(0, 3);
        let hand = &mut self.hands[index];
        let (inbound, marks, line) = (
            std::mem::take(&mut hand.inbound),
            std::mem::take(&mut hand.marks),
            std::mem::take(&mut hand.line),
        );
        let uid = if wrong_peer { 666 } else { WORKER_UID };
        let peer = Peer { pid: 100, uid, gid: uid };
        let pluses_needed = if notify.is_some() { 2 } else { 1 };
        *hand = Hand { inbound, marks, line, live: true, refs: 1, ..Hand::new() };
        (hand.session, hand.peer, hand.plan, hand.at) = (session, peer, plan, at);
        (hand.notify, hand.pluses_needed, hand.due_ms) = (notify, pluses_needed, due_ms);
        hand.begun_ms = self.mono_ms;
        hand.inbound.clear();
        hand.marks.clear();
        self.write_line(index);
        self.kernel.connect(index as u32);
        let serial = self.sessions[session as usize].serial;
        self.tell(|| format!("worker of s{serial} hibernates it by hand {index} ({plan:?})"));
    }

    pub fn run_hands(&mut self) {
        for index in 0..self.hands.len() {
            if self.hands[index].live && self.hands[index].due_ms <= self.mono_ms {
                self.step_hand(index);
            }
        }
    }

    fn step_hand(&mut self, index: usize) {
        let pause_ms = if self.random.one_in(4) { self.random.ms(0, 40) } else { 0 };
        let hand = &mut self.hands[index];
        hand.due_ms = self.mono_ms + pause_ms;
        if hand.given_ms.is_none() && (hand.refused || hand.engine_closed) {
            return self.end_hand(index, HandEnd::Kept);
        }
        let stops = hand.at == hand.step && hand.given_ms.is_none();
        match hand.plan {
            Plan::HangsUp if stops => return self.end_hand(index, HandEnd::Kept),
            Plan::Stalls if stops => {
                hand.due_ms = u64::MAX;
                return;
            }
            _ => {}
        }
        match hand.step {
            Step::Version => {
                let version: &[u8] = match hand.plan {
                    Plan::Hostile(Fault::VersionWrong) => b"VERSION\timap-master\t1\t0\n",
                    _ => b"VERSION\timap-hibernate\t1\t0\n",
                };
                hand.inbound.extend_from_slice(version);
                hand.step = Step::Line;
            }
            Step::Line => self.send_line(index),
            Step::Plus if hand.pluses == hand.pluses_needed => hand.step = Step::Close,
            Step::Plus if hand.pluses > 0 => hand.step = Step::Notify,
            Step::Notify => self.send_notify(index),
            Step::Last if hand.pluses == hand.pluses_needed => hand.step = Step::Close,
            Step::Plus | Step::Last => hand.due_ms = u64::MAX,
            Step::Close => self.close_hand(index),
            Step::Over => hand.due_ms = u64::MAX,
        }
        let op = self.hands[index].op;
        self.kernel.stir(op);
    }

    /// The worker has its last `+`: it lets everything go.
    fn close_hand(&mut self, index: usize) {
        let hand = &mut self.hands[index];
        match hand.plan {
            Plan::ClosesLate => {
                hand.plan = Plan::Honest;
                hand.due_ms = self.mono_ms + self.random.ms(10, 5000);
            }
            Plan::SecondLine => {
                hand.plan = Plan::Honest;
                hand.broken = true;
                hand.inbound.extend_from_slice(b"what else\n");
            }
            _ => {
                let session = hand.session;
                self.close(File::Session(session));
                self.end_hand(index, HandEnd::Given);
            }
        }
    }

    pub fn end_hand(&mut self, index: usize, end: HandEnd) {
        let hand = &mut self.hands[index];
        assert_ne!(hand.step, Step::Over);
        assert_eq!(hand.given_ms.is_some(), end == HandEnd::Given);
        hand.step = Step::Over;
        hand.worker_closed = true;
        hand.due_ms = u64::MAX;
        let (session, op, notify) = (hand.session, hand.op, hand.notify.take());
        if let Some(notify) = notify {
            self.close(File::Notify(notify));
        }
        self.kernel.stir(op);
        self.free_hand(index);
        let serial = self.sessions[session as usize].serial;
        self.tell(|| format!("hand {index} of s{serial} ends: {end:?}"));
        if end == HandEnd::Kept {
            let session = session as usize;
            if !self.sessions[session].attached {
                return self.worker_drops(session as u32);
            }
            self.worker_reads(session as u32);
        }
        self.hand_ended(session, end);
    }

    /// The engine has closed its end.
    pub fn hand_closed(&mut self, index: u32) {
        let hand = &mut self.hands[index as usize];
        assert_eq!(hand.op, None, "[6] closed with a recv in flight");
        hand.engine_closed = true;
        hand.due_ms = self.mono_ms;
        for mark in std::mem::take(&mut hand.marks) {
            for file in mark.files.into_iter().flatten() {
                self.close(file);
            }
        }
        if let Some(at) = self.kernel.backlog.iter().position(|other| *other == index) {
            self.kernel.backlog.remove(at);
        }
        self.free_hand(index as usize);
    }

    fn free_hand(&mut self, index: usize) {
        let hand = &mut self.hands[index];
        if hand.worker_closed && hand.engine_closed {
            hand.live = false;
        }
    }
}

impl Hand {
    /// When the worker next does something.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    fn new() -> Self {
        Self {
            live: false,
            refs: 0,
            session: 0,
            peer: Peer::default(),
            begun_ms: 0,
            accepted_ms: None,
            engine_closed: false,
            worker_closed: false,
            inbound: Vec::new(),
            read: 0,
            marks: Vec::new(),
            op: None,
            step: Step::Version,
            due_ms: 0,
            plan: Plan::Honest,
            at: Step::Version,
            line: Vec::new(),
            line_sent: 0,
            notify: None,
            pluses: 0,
            pluses_needed: 0,
            refused: false,
            given_ms: None,
            broken: false,
        }
    }
}
