//! Provided buffers: the kernel picks one when bytes come, we give it back at once.
//!
//! The kernel takes them in turn, so each buffer that it has is written to sooner or later. It
//! gets few at first, and twice as many each time it ran out of them: memory follows the largest
//! burst, not the number of receives.
#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;

use io_uring::Submitter;

use super::shared::Shared;
use super::window::Window;

/// One group of equal buffers and the ring through which they are given to the kernel.
pub struct Buffers {
    group: u16,
    count: u16,
    /// The kernel has those below; the others were never touched.
    offered: u16,
    bytes_each: usize,
    memory: Arc<Window>,
    /// Where in the memory the buffers begin.
    start: usize,
    entries: Shared,
    tail: u16,
}

impl Buffers {
    /// `count` buffers, a power of two up to 32,768, of which the kernel has the first few. They
    /// lie in this memory from `start` on.
    pub fn new(
        group: u16,
        count: u16,
        bytes_each: usize,
        memory: Arc<Window>,
        start: usize,
    ) -> Self {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} buffers are no ring");
        assert!(bytes_each.is_multiple_of(8), "buffers are made of words");
        let entries = Shared::new(usize::from(count) * ENTRY_BYTES);
        let offered = count.min(OFFERED_FIRST);
        let mut buffers =
            Self { group, count, offered, bytes_each, memory, start, entries, tail: 0 };
        (0..offered).for_each(|id| buffers.give(id));
        buffers
    }

    /// The kernel ran out of them (ENOBUFS): it gets as many again, while there are any.
    pub fn widen(&mut self) {
        let offered = self.offered.saturating_mul(2).min(self.count);
        (self.offered..offered).for_each(|id| self.give(id));
        self.offered = offered;
    }

    /// Makes the group known to a ring. `self` must outlive every operation that selects from it.
    pub fn register(&self, ring: &Submitter) -> io::Result<()> {
        let address = self.entries.address(0);
        // SAFETY: the crate leaves the lifetime of the memory to us. The entries and the buffers
        // that they name are page-aligned, of full length, and live until the ring is gone: the
        // ring's owner leaks them when it is dropped with operations in flight.
        unsafe { ring.register_buf_ring_with_flags(address, self.count, self.group, 0) }
    }

    /// Appends the first `count` bytes of buffer `id`, then gives the buffer back.
    pub fn take(&mut self, id: u16, count: usize, out: &mut Vec<u8>) {
        assert!(id < self.offered, "buffer {id} of group {} was never given", self.group);
        assert!(count <= self.bytes_each, "{count} bytes do not fit a buffer");
        self.memory.read(self.at(id), count, out);
        self.give(id);
    }

    /// Never gives the memory back.
    pub fn leak(&mut self) {
        std::mem::forget(Arc::clone(&self.memory));
        self.entries.leak();
    }

    fn at(&self, id: u16) -> usize {
        self.start + usize::from(id) * self.bytes_each
    }

    /// Writes the entry, then publishes the tail, which lives in the last 16 bits of entry 0. The
    /// word that holds it is always stored whole, with what the rest of it held before.
    fn give(&mut self, id: u16) {
        let at = usize::from(self.tail & (self.count - 1)) * ENTRY_BYTES;
        let address = self.memory.address(self.at(id));
        let published = if at == 0 { u64::from(self.tail) << TAIL_SHIFT } else { 0 };
        let word = self.bytes_each as u64 | u64::from(id) << ID_SHIFT | published;
        self.entries.set_word(at, address);
        self.entries.set_word(at + 8, word);
        self.tail = self.tail.wrapping_add(1);
        let first = self.entries.word(8) & !(0xFFFF << TAIL_SHIFT);
        self.entries.set_word(8, first | u64::from(self.tail) << TAIL_SHIFT);
    }
}

/// As many as one look at the queue brings when little happens.
const OFFERED_FIRST: u16 = 128;
/// struct io_uring_buf: addr (8), len (4), bid (2), resv (2).
const ENTRY_BYTES: usize = 16;
const ID_SHIFT: u32 = 32;
const TAIL_SHIFT: u32 = 48;

const _: () =
    assert!(cfg!(target_endian = "little"), "entries are composed as little-endian words");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::map::Map;

    #[test]
    fn the_tail_survives_entry_zero_being_written() {
        let file = Map::memory("test", 48).and_then(|map| map.share()).expect("memory");
        let memory = Window::new(&file, 0, 48).expect("mapped");
        let mut buffers = Buffers::new(7, 2, 16, Arc::new(memory), 16);
        assert_eq!(buffers.entries.word(8) >> TAIL_SHIFT, 2);
        buffers.take(1, 0, &mut Vec::new());
        let first = buffers.entries.word(8);
        assert_eq!((first as u32, first >> ID_SHIFT & 0xFFFF, first >> TAIL_SHIFT), (16, 1, 3));
        assert_eq!(buffers.entries.word(0), buffers.memory.address(32));
        for _ in 0..70_000 {
            buffers.take(0, 0, &mut Vec::new());
        }
        assert_eq!(buffers.entries.word(8) >> TAIL_SHIFT, (70_003 % 65_536) as u64);
    }
}
