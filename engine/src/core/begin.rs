//! The core over its memory: new, committed, given back.

use slab::Slab;
use torpor_handoff::queue::Queue;
use torpor_handoff::window::Window;

use super::accept::Accept;
use super::card::CARD_BYTES_MAX;
use super::cards::Cards;
use super::mail::Orphans;
use super::stage::Stages;
use super::{Core, Now};
use crate::awake::Awake;
use crate::cold::Cold;
use crate::limits::{AWAKE_MAX, Knobs, Limits};
use crate::mailboxes::Mailboxes;
use crate::memory::Memory;
use crate::planted::{Bug, planted};
use crate::report::Counters;
use crate::sends::Sends;
use crate::slots::{Ledger, Slots};
use crate::state::State;
use crate::wheel::Wheel;

/// What one handoff needs: room for its line, and a place for its conversation.
pub(super) struct Parcel {
    pub place: u32,
    pub line: Vec<u8>,
}

impl Parcel {
    pub(super) fn new(place: u32, limits: &Limits) -> Self {
        assert!(place < limits.handoffs_in_flight_max, "the vault has no such place");
        let line = Vec::with_capacity(parcel_bytes(limits));
        assert!(line.is_empty());
        Self { place, line }
    }
}

impl Core {
    /// Reserves all that the limits allow for, in memory; `seed` feeds the jitter of retries.
    pub fn new(limits: &Limits, knobs: Knobs, seed: u64) -> Self {
        let memory = Memory::new(limits, None).expect("memory for the limits");
        Self::with_memory(limits, knobs, seed, memory)
    }

    /// The same over new memory for these limits.
    pub fn with_memory(limits: &Limits, knobs: Knobs, seed: u64, memory: Memory) -> Self {
        limits.check().expect("the caller checks the limits");
        let slots = Slots::new(limits, memory.records);
        let sends = Sends::new(limits.sends_in_flight_max, memory.sends);
        let mailboxes = Mailboxes::new(limits.mailboxes_max, memory.mailboxes);
        let cold = Cold::over(memory.cold);
        let mut core = Self::over(limits, knobs, seed, (slots, sends, cold, mailboxes));
        core.commit(0);
        assert_eq!(core.slots.used(), 0, "new memory has nobody in it");
        core
    }

    /// What an heir needs. The engine is of no use any more.
    pub fn into_memory(self) -> Memory {
        assert!(self.sends.len() <= self.slots.used(), "one send at a time");
        assert!(self.in_flight <= self.limits.handoffs_in_flight_max);
        let (records, sends) = (self.slots.into_map(), self.sends.into_map());
        let (cold, mailboxes) = (self.cold.into_maps(), self.mailboxes.into_map());
        Memory { records, sends, cold, mailboxes }
    }

    /// A core that knows of nobody but whom its memory holds.
    pub(super) fn over(
        limits: &Limits,
        knobs: Knobs,
        seed: u64,
        (slots, sends, cold, mailboxes): (Slots, Sends, Cold, Mailboxes),
    ) -> Self {
        knobs.check().expect("the caller checks the knobs");
        assert_eq!(slots.capacity(), limits.slots_max, "memory of other limits");
        let in_flight_max = limits.handoffs_in_flight_max;
        let room = parcel_bytes(limits);
        Self {
            limits: limits.clone(),
            knobs,
            counters: Counters::default(),
            now: Now::default(),
            slots,
            cold,
            wheel: Wheel::new(),
            mailboxes,
            orphans: Orphans::new(),
            conns: Slab::with_capacity(limits.conns_max as usize),
            sends,
            stalled_sends: 0,
            stages: Stages::default(),
            queue: Queue::new(limits.slots_max),
            window: Window::new(in_flight_max, seed),
            awake: Awake::new(limits.awake_max() as usize),
            moved_ms: 0,
            in_flight: 0,
            parcels: (0..in_flight_max).map(|place| Parcel::new(place, limits)).collect(),
            cards: Cards::new(),
            accept: Accept::Off,
            accept_generation: 0,
            reaccepts: 0,
            sweep_ms: 0,
            stop: None,
            busy: false,
            reviving: None,
            stray: None,
            line: Vec::with_capacity(room),
            input: Vec::with_capacity(INPUT_BYTES_MAX),
            text: Vec::with_capacity(room.max(CARD_BYTES_MAX)),
            counts: [0; State::ALL.len()],
            visits: Default::default(),
        }
    }

    /// Everything up to here has happened, in the eyes of an heir; and as many more of the
    /// completions that the kernel keeps have been applied. What the actions of a step do to the
    /// world is done behind this.
    pub(super) fn commit(&mut self, applied: u32) {
        assert!(self.slots.used() <= self.slots.capacity());
        if applied > 0 && !planted(Bug::AppliedForgotten) {
            let ledger = self.slots.ledger();
            self.slots
                .set_ledger(Ledger { applied: ledger.applied.wrapping_add(applied), ..ledger });
        }
        self.sends.seal();
        self.mailboxes.seal();
        let epoch = self.slots.commit();
        assert_eq!(epoch, self.slots.committed() + 1);
        self.sends.begin(epoch);
        self.cold.begin(epoch);
        self.mailboxes.begin(epoch);
    }
}

/// A line grows by what base64 makes of input and leftover output, both bounded.
fn parcel_bytes(limits: &Limits) -> usize {
    assert!(limits.line_bytes_max > 0);
    limits.line_bytes_max as usize + PARCEL_EXTRA_BYTES
}

/// Client input that the engine can come to hold: what the record has, and two arms' worth.
const INPUT_BYTES_MAX: usize = 1024;
/// Room in a request line for base64 of input and output and for the words we add.
const PARCEL_EXTRA_BYTES: usize = 4096;

const _: () = assert!(AWAKE_MAX > 0);
const _: () = assert!(PARCEL_EXTRA_BYTES > 2 * INPUT_BYTES_MAX);
