//! Who is woken next: client input before mailbox change, oldest first, fair per user.
//!
//! ```text
//!          push              pop
//!  absent ─────► ready ──────────────► granted ──► (forgotten by remove, or by the next push)
//!                 ▲ │ rest                │ rest
//!          due    │ ▼                     │
//!                resting ◄────────────────┘
//! ```
//!
//! **Fairness** is start-time fair queueing with time itself as the virtual clock. Each user (by
//! hash, in a table of at most 4096 per class) has a virtual finish F. A push with arrival A gets
//!
//! ```text
//! key = max(A, F)          F = key + QUANTUM_MS
//! ```
//!
//! and the smallest key goes first. A user with one sleeper has F <= A, so such users are served in
//! the order of arrival. The i-th of a user's sleepers that come at once competes with those who
//! arrive i × 100 ms later: 10,000 sleepers of one user spread over 1000 s of keys, and another
//! user who arrives in between waits for at most one of them per 100 ms that it came later. Two
//! users who share an entry of the table are treated as one; that delays, and never starves.
//! A client that comes back without success and is pushed again with its old arrival keeps its key
//! and is not charged twice.
//!
//! Everything is indexed by slot in zeroed arrays, so slots that never wake cost no memory, and
//! nothing is allocated after `new`. It does not know sockets, limits or outcomes; time is passed
//! in, in milliseconds of one monotonic clock.

mod heap;

use heap::Heap;

#[cfg(test)]
mod tests;

/// Why a client is owed a wake. Lower is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The client has sent something: a person may be waiting.
    Input,
    /// The mailbox has changed, or the client has to be let go.
    Change,
}

/// The wake queue of one engine.
#[derive(Debug)]
pub struct Queue {
    ready: [Heap; 2],
    resting: Heap,
    /// All that wait, ready or resting, by arrival.
    waiting: Heap,
    /// Per slot, where it is; valid while not absent: the four arrays below.
    place: Vec<u8>,
    key_ms: Vec<u64>,
    arrived_ms: Vec<u64>,
    /// End of its last rest; 0: it has not rested since it arrived.
    until_ms: Vec<u64>,
    user_hash: Vec<u32>,
    /// Virtual finish per class and user.
    finish_ms: [Vec<u64>; 2],
    /// Waiting per class.
    counts: [u32; 2],
}

impl Queue {
    /// An empty queue for slots below `slots_max`.
    pub fn new(slots_max: u32) -> Self {
        assert!(slots_max < u32::MAX);
        let n = slots_max as usize;
        let users = (n * USERS_PER_SLOT).clamp(1, USERS_MAX);
        Self {
            ready: [Heap::new(n), Heap::new(n)],
            resting: Heap::new(n),
            waiting: Heap::new(n),
            place: vec![0; n],
            key_ms: vec![0; n],
            arrived_ms: vec![0; n],
            until_ms: vec![0; n],
            user_hash: vec![0; n],
            finish_ms: [vec![0; users], vec![0; users]],
            counts: [0; 2],
        }
    }

    /// Puts a slot in that has arrived at `arrived_ms`. It must not be waiting already.
    pub fn push(&mut self, slot: u32, class: Class, user_hash: u32, arrived_ms: u64) {
        assert!(!self.contains(slot), "slot {slot} waits already");
        let at = slot as usize;
        let again = self.place[at] == place_of(class, GRANTED)
            && self.arrived_ms[at] == arrived_ms
            && self.user_hash[at] == user_hash;
        self.arrived_ms[at] = arrived_ms;
        self.user_hash[at] = user_hash;
        if !again {
            self.until_ms[at] = 0;
            self.charge(slot, class);
        }
        self.enter(slot, class, READY);
        assert!(self.key_ms[at] >= arrived_ms);
    }

    /// The client has sent something as well: moves the slot to input. Its age stays, and so does
    /// its rest. Nothing happens to a slot that is not waiting for a change.
    pub fn promote(&mut self, slot: u32) {
        let place = self.place[slot as usize];
        if !is_waiting(place) || class_of(place) == Class::Input {
            return;
        }
        let stage = place & STAGES;
        self.leave(slot);
        self.charge(slot, Class::Input);
        self.enter(slot, Class::Input, stage);
        assert_eq!(self.class(slot), Some(Class::Input));
    }

    /// Lets a slot that is ready, resting or granted wait until `until_ms`, with its class and age.
    pub fn rest(&mut self, slot: u32, until_ms: u64) {
        let at = slot as usize;
        let place = self.place[at];
        assert_ne!(place, ABSENT, "slot {slot} was never pushed");
        if is_waiting(place) {
            self.leave(slot);
        }
        self.until_ms[at] = until_ms;
        self.enter(slot, class_of(place), RESTING);
        assert!(self.contains(slot));
    }

    /// Forgets a slot, wherever it is.
    pub fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            self.leave(slot);
        }
        self.place[slot as usize] = ABSENT;
        assert!(!self.contains(slot));
    }

    /// The next to be woken, if any is ready at `now_ms`. It is granted then: not waiting any
    /// more, but `rest` and `push` still know its class and key.
    pub fn pop(&mut self, now_ms: u64) -> Option<u32> {
        while let Some(slot) = self.resting.first()
            && self.until_ms[slot as usize] <= now_ms
        {
            self.end_rest(slot);
        }
        let slot = self.ready[0].first().or_else(|| self.ready[1].first())?;
        self.grant(slot);
        Some(slot)
    }

    /// Grants a slot that is waiting out of its turn, since it was before this queue began.
    pub fn grant(&mut self, slot: u32) {
        assert!(self.contains(slot), "slot {slot} does not wait");
        let class = class_of(self.place[slot as usize]);
        self.leave(slot);
        self.place[slot as usize] = place_of(class, GRANTED);
        assert!(!self.contains(slot));
    }

    /// True when a slot that is waiting or granted has rested since it arrived.
    pub fn has_rested(&self, slot: u32) -> bool {
        assert!(self.class(slot).is_some(), "slot {slot} was never pushed");
        self.until_ms[slot as usize] > 0
    }

    /// Ends all rests: whoever rested for the others' sake is ready now.
    pub fn end_rests(&mut self) {
        while let Some(slot) = self.resting.first() {
            self.end_rest(slot);
        }
        assert_eq!(self.next_rest_ms(), None);
    }

    /// True exactly when the slot is ready or resting.
    pub fn contains(&self, slot: u32) -> bool {
        is_waiting(self.place[slot as usize])
    }

    /// The class of a slot that is waiting or granted.
    pub fn class(&self, slot: u32) -> Option<Class> {
        let place = self.place[slot as usize];
        (place != ABSENT).then(|| class_of(place))
    }

    /// When the next resting slot becomes ready.
    pub fn next_rest_ms(&self) -> Option<u64> {
        self.resting.first().map(|slot| self.until_ms[slot as usize])
    }

    /// True exactly when `pop` would find one without waiting for a rest to end.
    pub fn is_ready(&self) -> bool {
        self.ready.iter().any(|heap| heap.first().is_some())
    }

    /// Slots that wait, ready or resting.
    pub fn len(&self) -> u32 {
        let len = self.waiting.len();
        assert_eq!(len, self.counts[0] + self.counts[1]);
        len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots that wait for input and for a change.
    pub fn counts(&self) -> (u32, u32) {
        (self.counts[0], self.counts[1])
    }

    /// Arrival of the one that has waited longest.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.waiting.first().map(|slot| self.arrived_ms[slot as usize])
    }

    fn end_rest(&mut self, slot: u32) {
        let class = class_of(self.place[slot as usize]);
        self.leave(slot);
        self.enter(slot, class, READY);
    }

    fn charge(&mut self, slot: u32, class: Class) {
        let at = slot as usize;
        let users = &mut self.finish_ms[class as usize];
        let entry = self.user_hash[at] as usize % users.len();
        let finish = &mut users[entry];
        let key_ms = self.arrived_ms[at].max(*finish);
        *finish = key_ms + QUANTUM_MS;
        self.key_ms[at] = key_ms;
        assert!(*finish > self.arrived_ms[at]);
    }

    fn enter(&mut self, slot: u32, class: Class, stage: u8) {
        self.place[slot as usize] = place_of(class, stage);
        self.counts[class as usize] += 1;
        self.waiting.push(slot, &self.arrived_ms);
        match stage {
            READY => self.ready[class as usize].push(slot, &self.key_ms),
            RESTING => self.resting.push(slot, &self.until_ms),
            _ => unreachable!("only ready and resting slots wait"),
        }
    }

    fn leave(&mut self, slot: u32) {
        let place = self.place[slot as usize];
        let class = class_of(place) as usize;
        self.counts[class] -= 1;
        self.waiting.remove(slot, &self.arrived_ms);
        match place & STAGES {
            READY => self.ready[class].remove(slot, &self.key_ms),
            RESTING => self.resting.remove(slot, &self.until_ms),
            _ => unreachable!("only ready and resting slots wait"),
        }
    }
}

fn place_of(class: Class, stage: u8) -> u8 {
    stage | if class == Class::Change { CHANGE } else { 0 }
}

fn class_of(place: u8) -> Class {
    if place & CHANGE == 0 { Class::Input } else { Class::Change }
}

fn is_waiting(place: u8) -> bool {
    matches!(place & STAGES, READY | RESTING)
}

/// What a user's next sleeper is set back for each that was pushed before it.
const QUANTUM_MS: u64 = 100;
/// Entries of the table of users; two of 32 KiB each, less for an engine of a few slots.
const USERS_MAX: usize = 4096;
const USERS_PER_SLOT: usize = 16;

const ABSENT: u8 = 0;
const READY: u8 = 1;
const RESTING: u8 = 2;
const GRANTED: u8 = 3;
const STAGES: u8 = 3;
const CHANGE: u8 = 4;
