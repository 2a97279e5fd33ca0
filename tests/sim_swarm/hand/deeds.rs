//! What a worker does on its hibernate connection, step by step.

use torpor_engine::ring::Peer;

use super::{Hand, HandEnd, Plan, Step};
use crate::faults::{Fault, WORKER_UID};
use crate::world::{File, World, place};

impl World {
    /// A worker begins to hibernate its client.
    pub fn hibernate(&mut self, session: u32) {
        let plan = self.draw_attempt();
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
        self.sessions[session as usize].is_offered = true;
        self.write_line(index);
        self.kernel.connect(index as u32, self.mono_ms);
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
