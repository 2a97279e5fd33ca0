//! Memory that the kernel reads and writes behind our back.

use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros as _;

use super::map::PAGE_BYTES;

/// Zeroed, page-aligned memory at a fixed address; where there is much of it, what was never
/// written costs address space only. It is made of atomics, because that is what memory with a
/// second writer is; so nothing that touches it is unsafe.
pub struct Shared {
    /// Of any address: an allocator that is asked for a page's border writes the zeros itself.
    room: Box<[AtomicU64]>,
    /// Where in there the first whole page begins.
    first: usize,
}

impl Shared {
    /// At least `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let words = (bytes.max(1).next_multiple_of(PAGE_BYTES) + PAGE_BYTES) / 8;
        let room = <[AtomicU64]>::new_box_zeroed_with_elems(words).expect("the host has memory");
        let first = room.as_ptr().addr().wrapping_neg() % PAGE_BYTES / 8;
        Self { room, first }
    }

    /// The address of the byte at `at`, for the kernel.
    pub fn address(&self, at: usize) -> u64 {
        let cells = &self.room[self.first..];
        assert!(at + PAGE_BYTES <= self.room.len() * 8, "offset {at} lies outside");
        cells.as_ptr().expose_provenance() as u64 + at as u64
    }

    /// The word at byte offset `at`.
    pub fn word(&self, at: usize) -> u64 {
        self.cell(at).load(Ordering::Acquire)
    }

    /// Stores the word at byte offset `at`; what was stored before is seen before.
    pub fn set_word(&self, at: usize, word: u64) {
        self.cell(at).store(word, Ordering::Release);
    }

    /// Appends `count` bytes from offset `at` on, which must be a multiple of eight.
    pub fn read(&self, at: usize, count: usize, out: &mut Vec<u8>) {
        let end = out.len() + count;
        for offset in (0..count).step_by(8) {
            let bytes = self.cell(at + offset).load(Ordering::Relaxed).to_ne_bytes();
            out.extend_from_slice(&bytes[..8.min(count - offset)]);
        }
        assert!(out.len() == end, "a read of {count} bytes must bring as many");
    }

    /// Stores bytes from offset `at` on, which must be a multiple of eight; the last word is
    /// filled up with zeros.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.cell(at + index * 8).store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
    }

    /// Never gives the memory back.
    pub fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.room));
    }

    fn cell(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8), "offset {at} is not that of a word");
        &self.room[self.first + at / 8]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_across_a_page_border() {
        let memory = Shared::new(PAGE_BYTES + 1);
        let text: Vec<u8> = (0..41).collect();
        memory.write(PAGE_BYTES - 16, &text);
        let mut out = b"before".to_vec();
        memory.read(PAGE_BYTES - 16, text.len(), &mut out);
        assert_eq!(&out[6..], &text[..]);
        assert_eq!(memory.address(8) - memory.address(0), 8);
        assert_eq!(memory.address(0) % PAGE_BYTES as u64, 0);
    }

    #[test]
    #[should_panic(expected = "not that of a word")]
    fn a_crooked_offset_is_refused() {
        Shared::new(64).word(4);
    }
}
