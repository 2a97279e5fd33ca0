//! Good-byes: cancel, tell, join, close. A close never goes out while anything is in flight.

use super::Core;
use crate::action::Actions;
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::report::Goodbye;
use crate::ring::Op;
use crate::sends::SendKind;
use crate::state::{Event, State};
use crate::wheel::TICK_MS;

impl Core {
    /// The client goes, for the reason that its record has. From any state that is ours.
    pub(super) fn leave(&mut self, slot: u32, event: Event, out: &mut Actions) {
        assert!(self.slots[slot].has(Flag::Doomed), "nobody goes without a reason");
        if self.state(slot) == State::Joining {
            self.in_flight -= 1;
            self.window.withdrawn();
        }
        let next = self.turn(slot, event);
        assert_eq!(next, State::Leaving);
        assert_ne!(event, Event::Depart);
        self.queue.remove(slot);
        self.wheel.disarm(&mut self.slots, slot);
        self.unwatch(slot, out);
        self.disarm_client(slot, out);
        self.disarm_notify(slot, out);
        self.try_depart(slot, out);
    }

    /// An operator ends a session: now if it is ours, else at the next moment it is.
    /// `true` when the client will be told.
    pub(super) fn dismiss(&mut self, slot: u32, why: Goodbye, out: &mut Actions) -> bool {
        assert!(matches!(why, Goodbye::Kicked | Goodbye::Shutdown));
        assert!(slot < self.slots.end());
        match self.state(slot) {
            State::Asleep | State::Queued | State::Joining => {
                self.slots[slot].doom(why);
                self.leave(slot, Event::Kick, out);
                true
            }
            State::Handed if planted(Bug::StopForgetsHanded) => true,
            State::Given | State::Handed => {
                self.turn(slot, Event::Kick);
                self.slots[slot].doom(why);
                true
            }
            State::Free | State::Offered | State::Leaving => false,
        }
    }

    /// Tells the client, then closes once nothing is in flight.
    pub(super) fn try_depart(&mut self, slot: u32, out: &mut Actions) {
        assert_eq!(self.state(slot), State::Leaving);
        assert!(!self.queue.contains(slot));
        self.give_up_stalled(slot);
        if self.slots[slot].has(Flag::Send) {
            return;
        }
        if self.slots[slot].owes_bye() && !self.has_send_room() {
            // Everybody is told, if not all at once: the wheel comes back to this one.
            self.wheel.arm(&mut self.slots, slot, self.now.mono_ms + TICK_MS);
            return;
        }
        self.wheel.disarm(&mut self.slots, slot);
        let owed = match planted(Bug::ByeTwice) {
            true => self.slots[slot].owes_bye(),
            false => self.slots[slot].take_bye(),
        };
        if owed && self.may_say_bye(slot) {
            let bye: &[u8] = match self.slots[slot].goodbye() {
                Goodbye::Kicked => b"* BYE User kicked.\r\n",
                Goodbye::Waited => b"* BYE No worker took this session in time.\r\n",
                Goodbye::Damaged => b"* BYE This session was damaged, please log in again.\r\n",
                _ => b"* BYE Server shutting down.\r\n",
            };
            self.send(slot, SendKind::Bye, bye, out);
        }
        if !self.slots[slot].is_joined() {
            return;
        }
        self.retire(slot, out);
        let why = self.slots[slot].goodbye();
        self.report_goodbye(slot, why, out);
        self.turn(slot, Event::Depart);
        self.close_client(slot, out);
    }

    /// Half a line of ours in the client's ears must not run into a BYE.
    fn may_say_bye(&self, slot: u32) -> bool {
        assert_eq!(self.state(slot), State::Leaving);
        assert!(!self.slots[slot].has(Flag::Send));
        assert!(self.has_send_room());
        !self.cold.has_output(self.slots[slot].cold)
    }

    /// Our descriptor of a client goes, and the slot is let again.
    pub(super) fn close_client(&mut self, slot: u32, out: &mut Actions) {
        assert_eq!(self.state(slot), State::Free);
        assert!(self.slots[slot].is_joined());
        if !planted(Bug::CloseForgotten) {
            out.ring(Op::CloseClient { slot });
        }
        self.release(slot);
    }

    /// The slot is let again.
    pub(super) fn release(&mut self, slot: u32) {
        assert_eq!(self.state(slot), State::Free);
        assert!(self.slots[slot].is_joined());
        self.wheel.disarm(&mut self.slots, slot);
        let chain = core::mem::replace(&mut self.slots[slot].cold, NIL);
        assert_ne!(chain, NIL, "whoever was here had words");
        self.cold.close(chain);
        self.slots.release(slot);
    }
}
