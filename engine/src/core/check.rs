//! From state to state: the one way, and what must be true of a client in each.

use super::Core;
use crate::record::{Flag, NIL};
use crate::state::{Event, State};

impl Core {
    /// Moves a client along the table of `state.rs`.
    pub(super) fn turn(&mut self, slot: u32, event: Event) -> State {
        assert!(slot < self.slots.end(), "nobody was ever there");
        let state = self.state(slot);
        let Some(next) = state.on(event) else {
            panic!("{event:?} cannot happen to slot {slot} in {state:?}");
        };
        self.check(slot, state);
        self.visits[state as usize][event as usize] += 1;
        if state != State::Free {
            self.counts[state as usize] -= 1;
        }
        if next != State::Free {
            self.counts[next as usize] += 1;
        }
        self.slots[slot].state = next as u8;
        next
    }

    /// What must be true of a client in each state; looked at whenever it leaves one.
    pub(super) fn check(&self, slot: u32, state: State) {
        let record = &self.slots[slot];
        let watching = record.mailbox != NIL;
        match state {
            State::Free => assert!(record.cold == NIL && !watching),
            State::Offered | State::Given => {
                assert!(record.is_joined(), "its worker still has it, and we have armed it");
                assert_eq!(record.deadline, 0);
                assert!(!record.has(Flag::Input));
            }
            State::Asleep => {
                assert!(!self.queue.contains(slot), "asleep and owed a wake");
                assert!(record.cold != NIL, "nothing to wake it with");
            }
            State::Queued => assert!(!watching, "it is owed a wake already"),
            State::Joining => assert!(!watching && !self.queue.contains(slot)),
            State::Handed => {
                assert!(record.is_joined(), "the kernel holds what a worker has");
                assert!(record.deadline == 0 && !record.has(Flag::Kept));
            }
            State::Leaving => {
                assert!(record.has(Flag::Doomed), "gone without a reason");
                assert!(!watching);
                assert!(record.deadline == 0 || record.owes_bye(), "timed for nothing");
            }
        }
    }

    pub(super) fn state(&self, slot: u32) -> State {
        assert!(slot < self.slots.capacity());
        State::from_code(self.slots[slot].state)
    }

    pub(super) fn gauge(&mut self) {
        let in_flight = self.counts[State::Joining as usize] + self.counts[State::Handed as usize];
        assert_eq!(self.in_flight, in_flight);
        assert_eq!(self.counts.iter().sum::<u32>(), self.slots.used());
        assert!(self.in_flight <= self.limits.handoffs_in_flight_max);
        let lent = self.limits.handoffs_in_flight_max as usize - self.parcels.len();
        assert_eq!(lent as u32, self.counts[State::Handed as usize], "a parcel is lost");
        assert!(self.cold.used() <= self.limits.cold_blocks_max);
        let counters = &mut self.counters;
        let (input, change) = self.queue.counts();
        (counters.queued_input, counters.queued_change) = (input.into(), change.into());
        counters.in_flight = in_flight.into();
        (counters.dozing, counters.sunk) = (self.stages.dozing.into(), self.stages.sunk.into());
        counters.asleep = self.counts[State::Asleep as usize].into();
        counters.awake = self.awake.count().into();
        counters.window = self.window.size().into();
        counters.conns = self.conns.len() as u64;
        counters.mailboxes = self.mailboxes.count() as u64;
        counters.cold_blocks_used = self.cold.used().into();
        counters.cold_shelf_bytes = self.cold.shelf_bytes();
        counters.cold_damaged = self.cold.damaged();
        let oldest = self.queue.oldest_ms();
        counters.queue_oldest_ms = oldest.map_or(0, |at| self.now.mono_ms.saturating_sub(at));
    }
}
