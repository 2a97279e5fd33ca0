//! A binary heap of slots that knows where each slot is, so that any one can be taken out.
//!
//! Keys live with the caller and are passed in; they must not change while a slot is in the heap.
//! Equal keys go by slot number, so that the order is the same in every run.

/// The smallest key first.
#[derive(Debug)]
pub(super) struct Heap {
    /// The first `len` are the heap; a child is never before its parent.
    slots: Vec<u32>,
    /// Per slot: its index in `slots` plus one; 0 exactly when it is not in the heap.
    position: Vec<u32>,
    len: usize,
}

impl Heap {
    pub(super) fn new(slots_max: usize) -> Self {
        Self { slots: vec![0; slots_max], position: vec![0; slots_max], len: 0 }
    }

    pub(super) fn push(&mut self, slot: u32, keys: &[u64]) {
        assert_eq!(self.position[slot as usize], 0, "slot {slot} is in the heap already");
        assert!(self.len < self.slots.len());
        self.set(self.len, slot);
        self.len += 1;
        self.rise(self.len - 1, keys);
    }

    pub(super) fn remove(&mut self, slot: u32, keys: &[u64]) {
        let position = self.position[slot as usize] as usize;
        assert!(position > 0 && position <= self.len, "slot {slot} is not in the heap");
        let at = position - 1;
        self.len -= 1;
        let last = self.slots[self.len];
        self.position[slot as usize] = 0;
        if at < self.len {
            self.set(at, last);
            self.rise(at, keys);
            self.sink(self.position[last as usize] as usize - 1, keys);
        }
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.len > 0).then(|| self.slots[0])
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.len).expect("slots are numbered by u32")
    }

    fn rise(&mut self, mut at: usize, keys: &[u64]) {
        while at > 0 && self.before(at, (at - 1) / 2, keys) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize, keys: &[u64]) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            if left < self.len && self.before(left, least, keys) {
                least = left;
            }
            if right < self.len && self.before(right, least, keys) {
                least = right;
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn before(&self, a: usize, b: usize, keys: &[u64]) -> bool {
        let (a, b) = (self.slots[a], self.slots[b]);
        (keys[a as usize], a) < (keys[b as usize], b)
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (first, second) = (self.slots[a], self.slots[b]);
        self.set(a, second);
        self.set(b, first);
    }

    fn set(&mut self, at: usize, slot: u32) {
        self.slots[at] = slot;
        self.position[slot as usize] = u32::try_from(at + 1).expect("slots are numbered by u32");
    }
}
