//! The slab of records: claim, release, generation. It never grows after start.
//!
//! ```text
//! words │ records │ seals: a checksum of each record │ sessions that are awake
//! ```
//! The words are what the engine itself must not forget: see [`Ledger`]. A seal is renewed when a
//! step that wrote to its record commits, so it tells damage that came while no engine ran.

mod notes;

use std::ops::{Index, IndexMut};

use zerocopy::{FromBytes, IntoBytes};

use crate::image::{Foreign, Image, Kind, LINE_BYTES, WORDS};
use crate::limits::{AWAKE_MAX, LIMIT_WORDS, Limits};
use crate::planted::{Bug, planted};
use crate::record::{NIL, Record};
use crate::state::State;
use crate::sys::map::Map;
use crate::token::GENERATION_MASK;

pub use notes::BLANK;

/// All records. Untouched ones cost address space only.
pub struct Slots {
    image: Image,
    capacity: u32,
    /// First of the released slots, linked by `mailbox_next`.
    free: u32,
    used: u32,
}

/// What an engine counts on its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Which ring's completions are being applied.
    pub ring: u32,
    /// How many entries of its completion queue have been, in all; wraps.
    pub applied: u32,
    /// Clients given to the handoff thread so far; wraps.
    pub handoffs: u32,
    /// Generation of the last hibernate connection.
    pub conn_generation: u32,
}

impl Slots {
    /// Bytes of an image for so many clients.
    pub fn bytes(slots_max: u32) -> usize {
        notes::place(slots_max as usize) + notes::bytes(AWAKE_MAX.min(slots_max))
    }

    /// No clients, in new memory for as many as the limits allow.
    pub fn new(limits: &Limits, map: Map) -> Self {
        let mut image = Image::new(Kind::Records, map);
        let least = notes::place(limits.slots_max as usize);
        assert!(image.len() >= least, "memory of other limits");
        for (index, pair) in limits.words().chunks(2).enumerate() {
            let high = pair.get(1).copied().unwrap_or(0);
            image.set_word(LIMITS_WORD + index, u64::from(high) << 32 | u64::from(pair[0]));
        }
        image.set_word(LIMITS_SEAL_WORD, limits_seal(limits));
        let epoch = image.commit();
        image.begin(epoch);
        Self { image, capacity: limits.slots_max, free: NIL, used: 0 }
    }

    /// The records of an engine that was killed, as they were after its last commit. Those whose
    /// seal is broken, or whose parts contradict each other, are free again; they come with it.
    ///
    /// # Errors
    /// The memory is none of ours.
    pub fn revive(map: Map) -> Result<(Self, Limits, Vec<u32>), Foreign> {
        let mut image = Image::open(Kind::Records, map)?;
        image.roll_back(image.committed());
        let limits = limits_of(&image);
        let is_sealed = image.word(LIMITS_SEAL_WORD) == limits_seal(&limits);
        let is_sound = is_sealed && limits.check().is_ok();
        // A program before this one has made it, perhaps, without room for who is awake.
        if !is_sound || image.len() < notes::place(limits.slots_max as usize) {
            return Err(Foreign::Size(Kind::Records));
        }
        let mut slots = Self { image, capacity: limits.slots_max, free: NIL, used: 0 };
        let mut damaged = Vec::new();
        for slot in (0..slots.end()).rev() {
            let is_sealed = slots.seal(slot) == seal_of(&slots[slot]);
            if !is_sealed || !slots[slot].is_whole() {
                damaged.push(slot);
                slots[slot] = Record::new(slots[slot].generation & GENERATION_MASK);
            }
            match slots[slot].state == State::Free as u8 {
                true if planted(Bug::LiveSlotFreed) && slot > 0 => slots.put_free(slot - 1),
                true => slots.put_free(slot),
                false => slots.used += 1,
            }
        }
        Ok((slots, limits, damaged))
    }

    /// Commits all that was written since the last commit, here and in every other image; these
    /// are to begin the transaction that is returned.
    pub fn commit(&mut self) -> u64 {
        for index in 0..self.image.written() {
            let slot = self.image.written_at(index).map(|at| at / RECORD_BYTES);
            if let Some(slot) = slot.filter(|slot| *slot < self.capacity as usize)
                && !planted(Bug::SealForgotten)
            {
                let seal = seal_of(&self[slot as u32]);
                let at = self.seal_at(slot as u32);
                self.image.edit(at, SEAL_BYTES).copy_from_slice(&seal.to_le_bytes());
            }
        }
        let epoch = self.image.commit();
        self.image.begin(epoch);
        epoch
    }

    /// The last transaction that was committed.
    pub fn committed(&self) -> u64 {
        self.image.committed()
    }

    pub fn ledger(&self) -> Ledger {
        let [rings, counts] = [RINGS_WORD, COUNTS_WORD].map(|index| self.image.word(index));
        Ledger {
            ring: (rings >> 32) as u32,
            applied: rings as u32,
            handoffs: (counts >> 32) as u32,
            conn_generation: counts as u32 & GENERATION_MASK,
        }
    }

    pub fn set_ledger(&mut self, ledger: Ledger) {
        let Ledger { ring, applied, handoffs, conn_generation } = ledger;
        self.image.set_word(RINGS_WORD, u64::from(ring) << 32 | u64::from(applied));
        self.image.set_word(COUNTS_WORD, u64::from(handoffs) << 32 | u64::from(conn_generation));
    }

    /// What the records lie in, for an heir.
    pub fn into_map(self) -> Map {
        self.image.into_map()
    }

    /// A slot with a new generation, or `None` when all are used.
    pub fn claim(&mut self) -> Option<u32> {
        let slot = if self.free != NIL {
            let slot = self.free;
            assert_eq!(self[slot].state, State::Free as u8);
            self.free = self[slot].mailbox_next;
            slot
        } else if self.end() < self.capacity {
            let slot = self.end();
            self.image.set_word(END_WORD, self.image.word(END_WORD) + 1);
            slot
        } else {
            assert_eq!(self.used, self.capacity(), "a slot is neither free nor used");
            return None;
        };
        // What lies in a slot that was never let is nothing, or damage.
        self[slot] = Record::new(self[slot].generation.wrapping_add(1) & GENERATION_MASK);
        self.used += 1;
        Some(slot)
    }

    /// Gives a slot back. Nothing may be in flight, linked or stored.
    pub fn release(&mut self, slot: u32) {
        let record = &mut self[slot];
        assert_eq!(record.state, State::Free as u8);
        assert!(record.is_joined(), "released with something in flight");
        assert!(record.deadline == 0 && record.mailbox == NIL && record.cold == NIL);
        let generation = record.generation;
        *record = Record::new(generation);
        self.put_free(slot);
        self.used -= 1;
    }

    /// Nobody can be kept in this slot: it is let again, whatever it held.
    pub fn forget(&mut self, slot: u32) {
        assert_ne!(self[slot].state, State::Free as u8);
        self[slot] = Record::new(self[slot].generation);
        self.put_free(slot);
        self.used -= 1;
    }

    fn put_free(&mut self, slot: u32) {
        self[slot].mailbox_next = self.free;
        self.free = slot;
    }

    /// True exactly when the tenant of `slot` is of this generation and has not left.
    pub fn is_current(&self, slot: u32, generation: u32) -> bool {
        slot < self.end()
            && self[slot].generation == generation
            && self[slot].state != State::Free as u8
    }

    /// Clients in all states.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Slots that were ever claimed lie below this.
    pub fn end(&self) -> u32 {
        (self.image.word(END_WORD) as u32).min(self.capacity)
    }

    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    fn seal(&self, slot: u32) -> u32 {
        let at = self.seal_at(slot);
        u32::read_from_bytes(&self.image[at..at + SEAL_BYTES]).expect("four bytes")
    }

    fn seal_at(&self, slot: u32) -> usize {
        self.capacity as usize * RECORD_BYTES + slot as usize * SEAL_BYTES
    }
}

impl Index<u32> for Slots {
    type Output = Record;
    fn index(&self, slot: u32) -> &Record {
        let at = slot as usize * RECORD_BYTES;
        Record::ref_from_bytes(&self.image[at..at + RECORD_BYTES]).expect("aligned and of its size")
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, slot: u32) -> &mut Record {
        let at = slot as usize * RECORD_BYTES;
        Record::mut_from_bytes(self.image.edit(at, RECORD_BYTES)).expect("as above")
    }
}

fn seal_of(record: &Record) -> u32 {
    crc32fast::hash(record.as_bytes())
}

fn limits_of(image: &Image) -> Limits {
    Limits::from_words(core::array::from_fn(|index| {
        let word = image.word(LIMITS_WORD + index / 2);
        (word >> (32 * (index % 2))) as u32
    }))
}

/// Limits that are damaged would ask for any amount of memory.
fn limits_seal(limits: &Limits) -> u64 {
    crc32fast::hash(limits.words().as_bytes()).into()
}

const RECORD_BYTES: usize = size_of::<Record>();
const SEAL_BYTES: usize = 4;
/// Slots that were ever claimed lie below it; in its upper half, notes on who is awake.
const END_WORD: usize = 0;
const RINGS_WORD: usize = 1;
const COUNTS_WORD: usize = 2;
const LIMITS_WORD: usize = 3;
const LIMITS_SEAL_WORD: usize = LIMITS_WORD + LIMIT_WORDS.div_ceil(2);

const _: () = assert!(RECORD_BYTES == LINE_BYTES, "a record is kept and sealed as a line");
const _: () = assert!(LIMITS_SEAL_WORD < WORDS);

#[cfg(test)]
impl Slots {
    pub(crate) fn for_test(slots_max: u32) -> Self {
        let map = Map::memory("test", Image::map_bytes(Self::bytes(slots_max))).expect("memory");
        Self::new(&Limits { slots_max, ..Limits::default() }, map)
    }
}

#[cfg(test)]
mod tests;
