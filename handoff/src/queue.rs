//! Who is owed a wake, in the order in which wakes are granted.
//!
//! Client input before mailbox changes; within a class, oldest first and fair per user. Both at
//! once by start-time fair queueing: a wake's *key* is the time of its arrival, but never less
//! than the virtual time at which its user's previous wakes are paid off; each wake costs its user
//! [`QUANTUM_MS`]. So users with one sleeper each are served in order of arrival, and somebody
//! with 10,000 sleepers is pushed 1,000 virtual seconds into the future instead of pushing others.
//!
//! Slots only, no clock, no allocation after [`Queue::new`]: three binary heaps that know where
//! each slot is. Arrays start zeroed, so a queue that was never long costs address space only.

/// Wakes that are owed. See the module.
pub struct Queue {
    heaps: [Vec<Entry>; 3],
    /// For each slot its place in its heap, plus one; 0: not queued.
    places: Vec<u32>,
    /// For each queued slot its heap, class and times.
    facts: Vec<Fact>,
    /// Virtual time at which the wakes of a user are paid off, by hash of the user.
    paid_ms: Vec<u64>,
}

/// Who waits: people before programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The client has said something and waits for an answer.
    Input = 0,
    /// The mailbox changed.
    Change = 1,
}

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    slot: u32,
}

#[derive(Clone, Copy, Default)]
struct Fact {
    arrived_ms: u64,
    key_ms: u64,
    heap: u8,
    class: u8,
}

impl Queue {
    /// Room for every slot.
    pub fn new(slots_max: u32) -> Self {
        let slots = slots_max as usize;
        Self {
            heaps: [const { Vec::new() }; 3].map(|_: Vec<Entry>| Vec::with_capacity(slots)),
            places: vec![0; slots],
            facts: vec![Fact::default(); slots],
            paid_ms: vec![0; USERS],
        }
    }

    /// `slot` is owed a wake since `arrived_ms`.
    pub fn push(&mut self, slot: u32, class: Class, user_hash: u32, arrived_ms: u64) {
        assert!(!self.contains(slot), "slot {slot} is queued already");
        let paid_ms = &mut self.paid_ms[user_hash as usize % USERS];
        let key_ms = arrived_ms.max(*paid_ms);
        *paid_ms = key_ms + QUANTUM_MS;
        self.facts[slot as usize] = Fact { arrived_ms, key_ms, heap: 0, class: class as u8 };
        self.insert(class as usize, slot, key_ms);
    }

    /// A client that waits for its mailbox has spoken: it goes before all that have not.
    pub fn promote(&mut self, slot: u32) {
        let fact = &mut self.facts[slot as usize];
        fact.class = Class::Input as u8;
        let (heap, key_ms) = (usize::from(fact.heap), fact.key_ms);
        if self.contains(slot) && heap == Class::Change as usize {
            self.take(heap, self.places[slot as usize] as usize - 1);
            self.insert(Class::Input as usize, slot, key_ms);
        }
    }

    /// `slot` is not to be granted before `until_ms`.
    pub fn rest(&mut self, slot: u32, until_ms: u64) {
        assert!(self.contains(slot), "only the queued rest");
        let heap = usize::from(self.facts[slot as usize].heap);
        self.take(heap, self.places[slot as usize] as usize - 1);
        self.insert(RESTING, slot, until_ms);
    }

    /// `slot` is owed nothing any more, if it was.
    pub fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            let heap = usize::from(self.facts[slot as usize].heap);
            self.take(heap, self.places[slot as usize] as usize - 1);
        }
    }

    /// The next to be woken; it is out of the queue then.
    pub fn pop(&mut self, now_ms: u64) -> Option<u32> {
        while let Some(entry) = self.heaps[RESTING].first().copied()
            && entry.key <= now_ms
        {
            self.take(RESTING, 0);
            let fact = self.facts[entry.slot as usize];
            self.insert(usize::from(fact.class), entry.slot, fact.key_ms);
        }
        let heap = [Class::Input, Class::Change].map(|class| class as usize);
        let heap = heap.into_iter().find(|heap| !self.heaps[*heap].is_empty())?;
        Some(self.take(heap, 0))
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.places[slot as usize] != 0
    }

    /// Wakes that are owed, those at rest included.
    pub fn len(&self) -> usize {
        self.heaps.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those who could be granted now: of input and of change.
    pub fn counts(&self) -> (u32, u32) {
        (self.heaps[0].len() as u32, self.heaps[1].len() as u32)
    }

    /// When the first rest ends, milliseconds.
    pub fn next_rest_ms(&self) -> Option<u64> {
        self.heaps[RESTING].first().map(|entry| entry.key)
    }

    /// The least arrival among the heads: the oldest wake, but for what fairness has reordered.
    pub fn oldest_ms(&self) -> Option<u64> {
        let heads = self.heaps.iter().filter_map(|heap| heap.first());
        heads.map(|entry| self.facts[entry.slot as usize].arrived_ms).min()
    }

    fn insert(&mut self, heap: usize, slot: u32, key: u64) {
        self.facts[slot as usize].heap = heap as u8;
        let entries = &mut self.heaps[heap];
        assert!(entries.len() < entries.capacity(), "a heap has room for every slot");
        entries.push(Entry { key, slot });
        self.places[slot as usize] = entries.len() as u32;
        self.rise(heap, self.heaps[heap].len() - 1);
    }

    /// Takes the entry at `place` out of a heap.
    fn take(&mut self, heap: usize, place: usize) -> u32 {
        let last = self.heaps[heap].len() - 1;
        self.swap(heap, place, last);
        let entry = self.heaps[heap].pop().expect("it has the entry");
        self.places[entry.slot as usize] = 0;
        if place < last {
            self.rise(heap, place);
            self.sink(heap, place);
        }
        entry.slot
    }

    fn rise(&mut self, heap: usize, mut place: usize) {
        while place > 0 && self.is_less(heap, place, (place - 1) / 2) {
            self.swap(heap, place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, heap: usize, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heaps[heap].len() && self.is_less(heap, child, least) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(heap, place, least);
            place = least;
        }
    }

    /// Equal keys are served by slot number, so that a run can be repeated.
    fn is_less(&self, heap: usize, one: usize, other: usize) -> bool {
        let (one, other) = (self.heaps[heap][one], self.heaps[heap][other]);
        (one.key, one.slot) < (other.key, other.slot)
    }

    fn swap(&mut self, heap: usize, one: usize, other: usize) {
        self.heaps[heap].swap(one, other);
        for place in [one, other] {
            self.places[self.heaps[heap][place].slot as usize] = place as u32 + 1;
        }
    }
}

/// What a wake costs its user, milliseconds of virtual time.
pub const QUANTUM_MS: u64 = 100;

/// Users are told apart by hash; two that share a place share their turn.
const USERS: usize = 4096;
const RESTING: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_first_and_the_oldest_of_them_first() {
        let mut queue = Queue::new(8);
        queue.push(0, Class::Change, 10, 100);
        queue.push(1, Class::Input, 11, 300);
        queue.push(2, Class::Input, 12, 200);
        queue.push(3, Class::Change, 13, 50);
        queue.promote(0);
        let order: Vec<u32> = core::iter::from_fn(|| queue.pop(1000)).collect();
        assert_eq!(order, [0, 2, 1, 3]);
    }

    #[test]
    fn a_user_with_many_sleepers_keeps_nobody_waiting() {
        let mut queue = Queue::new(100);
        for slot in 0..99 {
            queue.push(slot, Class::Change, 7, 1000);
        }
        queue.push(99, Class::Change, 8, 1050);
        let order: Vec<u32> = core::iter::from_fn(|| queue.pop(2000)).collect();
        assert_eq!(order.iter().position(|slot| *slot == 99), Some(1));
    }

    #[test]
    fn rest_is_kept_and_keeps_the_age() {
        let mut queue = Queue::new(4);
        queue.push(0, Class::Input, 1, 100);
        queue.push(1, Class::Input, 2, 200);
        queue.rest(0, 500);
        assert_eq!((queue.pop(300), queue.pop(300)), (Some(1), None));
        assert_eq!((queue.next_rest_ms(), queue.oldest_ms()), (Some(500), Some(100)));
        assert_eq!(queue.pop(500), Some(0));
        assert!(queue.is_empty());
    }

    /// Random orders against a list that is searched anew each time.
    #[test]
    fn the_heaps_agree_with_a_list() {
        let (mut queue, mut random) = (Queue::new(32), 1_u64);
        let mut model: Vec<(u64, u64, u32)> = Vec::new();
        for now in 0..50_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (random >> 40) as u32 % 32;
            let known = model.iter().position(|entry| entry.2 == slot);
            assert_eq!(queue.contains(slot), known.is_some());
            match (random >> 60, known) {
                (0..=7, None) => {
                    let class = if random >> 59 & 1 == 0 { Class::Input } else { Class::Change };
                    // Each slot its own user: the key is the arrival.
                    queue.push(slot, class, slot, now * 1000);
                    model.push((class as u64, now * 1000, slot));
                }
                (8..=9, Some(at)) => {
                    queue.promote(slot);
                    model[at].0 = 0;
                }
                (10..=11, Some(at)) => {
                    queue.remove(slot);
                    model.swap_remove(at);
                }
                (12..=13, _) => {
                    model.sort_unstable();
                    let first = (!model.is_empty()).then(|| model.remove(0).2);
                    assert_eq!(queue.pop(now * 1000), first);
                }
                _ => {}
            }
            assert_eq!(queue.len(), model.len());
        }
    }
}
