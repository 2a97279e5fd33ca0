//! The slab of records: claim, release, generation. It never grows after start.

use std::ops::{Index, IndexMut};

use zerocopy::FromBytes;

use crate::record::{NIL, Record};
use crate::state::State;
use crate::sys::map::Map;
use crate::token::GENERATION_MASK;

/// All records. Untouched ones cost address space only.
pub struct Slots {
    map: Map,
    /// First of the released slots, linked by `mailbox_next`.
    free: u32,
    /// Slots from here on have never been claimed.
    fresh: u32,
    used: u32,
}

impl Slots {
    /// Room for `slots_max` clients.
    pub fn new(slots_max: u32) -> Self {
        let bytes = slots_max as usize * RECORD_BYTES;
        let map = Map::memory("torpor-records", bytes).expect("memory for the records");
        Self { map, free: NIL, fresh: 0, used: 0 }
    }

    /// A slot with a new generation, or `None` when all are used.
    pub fn claim(&mut self) -> Option<u32> {
        let slot = if self.free != NIL {
            let slot = self.free;
            self.free = self[slot].mailbox_next;
            slot
        } else if self.fresh < self.capacity() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            assert_eq!(self.used, self.capacity(), "a slot is neither free nor used");
            return None;
        };
        assert_eq!(self[slot].state, State::Free as u8);
        self[slot] = Record::new((self[slot].generation + 1) & GENERATION_MASK);
        self.used += 1;
        Some(slot)
    }

    /// Gives a slot back. Nothing may be in flight, linked or stored.
    pub fn release(&mut self, slot: u32) {
        let free = self.free;
        let record = &mut self[slot];
        assert_eq!(record.state, State::Free as u8);
        assert!(record.is_joined(), "released with something in flight");
        assert!(record.deadline == 0 && record.mailbox == NIL && record.cold == NIL);
        let generation = record.generation;
        *record = Record::new(generation);
        record.mailbox_next = free;
        self.free = slot;
        self.used -= 1;
    }

    /// True exactly when the tenant of `slot` is of this generation and has not left.
    pub fn is_current(&self, slot: u32, generation: u32) -> bool {
        slot < self.fresh
            && self[slot].generation == generation
            && self[slot].state != State::Free as u8
    }

    /// Clients in all states.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Slots that were ever claimed lie below this.
    pub fn end(&self) -> u32 {
        self.fresh
    }

    pub fn capacity(&self) -> u32 {
        (self.map.len() / RECORD_BYTES) as u32
    }
}

impl Index<u32> for Slots {
    type Output = Record;
    fn index(&self, slot: u32) -> &Record {
        let at = slot as usize * RECORD_BYTES;
        Record::ref_from_bytes(&self.map[at..at + RECORD_BYTES]).expect("aligned and of its size")
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, slot: u32) -> &mut Record {
        let at = slot as usize * RECORD_BYTES;
        Record::mut_from_bytes(&mut self.map[at..at + RECORD_BYTES]).expect("as above")
    }
}

const RECORD_BYTES: usize = size_of::<Record>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_let_again_under_a_new_generation() {
        let mut slots = Slots::new(2);
        let (first, second) = (slots.claim().expect("free"), slots.claim().expect("free"));
        assert_ne!(first, second);
        assert_eq!(slots.claim(), None);
        let generation = slots[first].generation;
        slots.release(first);
        assert!(!slots.is_current(first, generation));
        assert_eq!(slots.claim(), Some(first));
        assert_ne!(slots[first].generation, generation);
        assert_eq!(slots.used(), 2);
        assert!(!slots.is_current(first, generation), "its tenant has left");
        assert!(!slots.is_current(2, 0), "a slot that was never claimed");
    }

    #[test]
    #[should_panic(expected = "released with something in flight")]
    fn a_slot_in_flight_is_never_released() {
        let mut slots = Slots::new(1);
        let slot = slots.claim().expect("free");
        slots[slot].set(crate::record::Flag::Recv);
        slots.release(slot);
    }
}
