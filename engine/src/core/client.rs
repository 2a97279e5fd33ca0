//! What a sleeping client says, and what it is told in its sleep.

use torpor_handoff::queue::Class;

use super::Core;
use crate::action::Actions;
use crate::idle::{Verdict, judge};
use crate::planted::{Bug, planted};
use crate::record::{Flag, INPUT_MAX};
use crate::report::Goodbye;
use crate::ring::{CLIENT_BUFFER_BYTES, Completion, Op};
use crate::state::{Event, State};
use crate::token::Kind;

impl Core {
    /// Lets the client be heard, when it is to be and is not already.
    pub(super) fn arm_client(&mut self, slot: u32, out: &mut Actions) {
        assert!(!matches!(self.state(slot), State::Free | State::Handed));
        let is_full = self.stages.dozing >= self.limits.dozers_max || self.knobs.doze_ms == 0;
        let is_heard = self.is_heard(slot);
        let record = &mut self.slots[slot];
        let is_armed = [Flag::Recv, Flag::RecvCancel, Flag::Item].map(|flag| record.has(flag));
        if !is_heard || is_armed.contains(&true) {
            return;
        }
        if is_full {
            record.set(Flag::Sunk);
        }
        match record.has(Flag::Sunk) {
            true => self.add_item(slot, out),
            false => self.arm_recv(slot, out),
        }
    }

    /// Ends whatever hears the client.
    pub(super) fn disarm_client(&mut self, slot: u32, out: &mut Actions) {
        assert_ne!(self.state(slot), State::Handed, "joined before");
        assert_ne!(self.state(slot), State::Asleep, "a sleeper is deaf");
        self.delete_item(slot, out);
        self.cancel_recv(slot, out);
    }

    /// Cancels the recv, if it is in flight.
    pub(super) fn cancel_recv(&mut self, slot: u32, out: &mut Actions) {
        assert_ne!(self.state(slot), State::Handed, "joined before");
        assert_ne!(self.state(slot), State::Free);
        let record = &mut self.slots[slot];
        if record.has(Flag::Recv) && !record.has(Flag::RecvCancel) {
            record.set(Flag::RecvCancel);
            let mut target = self.token(Kind::ClientRecv, slot);
            if planted(Bug::CancelMissesTarget) {
                target = self.token(Kind::Notify, slot);
            }
            let mut token = self.token(Kind::CancelRecv, slot);
            if planted(Bug::CancelSharesToken) {
                token = target;
            }
            out.ring(Op::Cancel { token, target });
        }
    }

    pub(super) fn client_received(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        let slot = self.slot_of(done);
        assert!(self.slots[slot].has(Flag::Recv), "nothing was armed");
        if !done.more {
            self.slots[slot].clear(Flag::Recv);
            self.stages.dozing -= 1;
        }
        if done.result > 0 {
            let bytes = done.bytes.of(bytes);
            assert_eq!(bytes.len(), done.result as usize);
            self.counters.input_bytes += bytes.len() as u64;
            self.hear(slot, bytes, out);
        }
        if done.more {
            return;
        }
        match -done.result {
            0 => self.hang_up(slot, Goodbye::Closed(0), out),
            libc::ENOBUFS if !planted(Bug::StarvedIsHangUp) => self.counters.starved += 1,
            libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ENOMEM => {}
            errno if errno > 0 => self.hang_up(slot, Goodbye::Closed(errno), out),
            _ => {}
        }
        self.joined(slot, out);
    }

    pub(super) fn recv_cancelled(&mut self, done: &Completion, out: &mut Actions) {
        let slot = self.slot_of(done);
        let record = &mut self.slots[slot];
        assert!(record.has(Flag::RecvCancel));
        assert!(!done.more, "a cancel completes once");
        record.clear(Flag::RecvCancel);
        self.joined(slot, out);
    }

    /// Something in flight has ended: goes on with whatever waited for that.
    pub(super) fn joined(&mut self, slot: u32, out: &mut Actions) {
        assert!(slot < self.slots.end());
        assert_ne!(self.state(slot), State::Handed, "joined long ago");
        match self.state(slot) {
            State::Asleep if planted(Bug::RearmForgotten) => {}
            State::Asleep | State::Queued => self.arm_client(slot, out),
            State::Joining => self.try_dispatch(slot, out),
            State::Leaving => self.try_depart(slot, out),
            State::Free | State::Offered | State::Given | State::Handed => {}
        }
    }

    /// Client bytes. Each is kept for the worker, or answered; none is dropped unless the client
    /// is leaving anyway.
    fn hear(&mut self, slot: u32, bytes: &[u8], out: &mut Actions) {
        let state = self.state(slot);
        let cancelling = self.slots[slot].has(Flag::RecvCancel);
        if state == State::Leaving || (cancelling && planted(Bug::BytesDroppedInCancel)) {
            return;
        }
        assert!(matches!(state, State::Asleep | State::Queued | State::Joining));
        assert!(!bytes.is_empty() && bytes.len() <= CLIENT_BUFFER_BYTES);
        if self.slots[slot].has(Flag::Input) {
            self.keep_input(slot, bytes);
            return;
        }
        let mut all = [0; INPUT_MAX + CLIENT_BUFFER_BYTES];
        let before = self.slots[slot].input().len();
        all[..before].copy_from_slice(self.slots[slot].input());
        all[before..before + bytes.len()].copy_from_slice(bytes);
        let all = &all[..before + bytes.len()];
        let verdict = if self.slots[slot].has(Flag::Idle) { judge(all) } else { Verdict::Wake };
        match verdict {
            Verdict::Partial if planted(Bug::PartialForgotten) => {}
            Verdict::Partial => self.slots[slot].set_input(all),
            Verdict::DoneIdle(tag) if self.answer(slot, all, tag.clone(), out) => {}
            Verdict::DoneIdle(_) | Verdict::Wake => {
                self.slots[slot].set_input(&[]);
                self.keep_input(slot, all);
                self.slots[slot].set(Flag::Input);
                self.wake(slot, Event::Input, Class::Input, out);
            }
        }
    }

    fn keep_input(&mut self, slot: u32, bytes: &[u8]) {
        assert!(self.slots[slot].input().is_empty(), "bytes out of order");
        let kept = self.cold.append_input(self.slots[slot].cold, bytes);
        assert!(kept, "blocks for input are promised to every client");
    }

    /// The client cannot be kept, whatever it has said.
    pub(super) fn end(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].has(Flag::Doomed));
        assert!(!matches!(self.state(slot), State::Handed | State::Given));
        match self.state(slot) {
            State::Leaving => {
                self.turn(slot, Event::HangUp);
            }
            _ => self.leave(slot, Event::HangUp, out),
        }
    }

    /// The client is gone. What it said before is still a worker's business, and so is its end.
    pub(super) fn hang_up(&mut self, slot: u32, why: Goodbye, out: &mut Actions) {
        assert!(matches!(why, Goodbye::Closed(_) | Goodbye::WriteFailed(_)));
        assert_ne!(self.state(slot), State::Handed, "not ours to hear");
        let leaving = self.state(slot) == State::Leaving;
        if leaving || !self.slots[slot].has(Flag::Input) {
            self.slots[slot].doom(why);
            self.end(slot, out);
        }
    }
}
