//! A worker that hibernates its client, honestly or not, over a hibernate connection.

mod deeds;

use torpor_engine::ring::Peer;

use crate::faults::Fault;
use crate::world::{File, World};

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

    /// What is wrong with the next one.
    fn draw_attempt(&mut self) -> Plan {
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
