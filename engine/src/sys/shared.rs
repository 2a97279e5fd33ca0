//! Memory that the kernel reads and writes behind our back.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapMut, UncheckedAdvice};

use super::map::PAGE_BYTES;

/// Zeroed, page-aligned memory at a fixed address; what is never written costs address space only.
/// It is made of atomics, because that is what memory with a second writer is.
pub struct Shared {
    /// `None`: it was left to the kernel.
    pages: Option<MmapMut>,
}

impl Shared {
    /// At least `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        Self { pages: Some(MmapMut::map_anon(bytes).expect("the host has address space")) }
    }

    /// The address of the byte at `at`, for the kernel.
    pub fn address(&self, at: usize) -> u64 {
        let cells = self.cells();
        assert!(at < size_of_val(cells), "offset {at} lies outside");
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

    /// The first so many bytes are zero again, and their whole pages not there. Neither the kernel
    /// nor we may be using any of them.
    pub fn give_back(&mut self, bytes: usize) {
        let pages = self.pages.as_ref().expect("it is ours still");
        let whole = bytes / PAGE_BYTES * PAGE_BYTES;
        // SAFETY: private memory that nobody borrows (`&mut self`): all that changes is its bytes,
        // which become zero. Failing is harmless: whoever reads has had them written before.
        let _ = unsafe { pages.unchecked_advise_range(UncheckedAdvice::DontNeed, 0, whole) };
        for at in (whole..bytes.next_multiple_of(8)).step_by(8) {
            self.cell(at).store(0, Ordering::Relaxed);
        }
    }

    /// Never gives the memory back.
    pub fn leak(&mut self) {
        std::mem::forget(self.pages.take());
    }

    fn cell(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8), "offset {at} is not that of a word");
        &self.cells()[at / 8]
    }

    fn cells(&self) -> &[AtomicU64] {
        let pages = self.pages.as_ref().expect("it is ours still");
        // SAFETY: the mapping is as long and better aligned, every word is an atomic's, and nobody
        // makes another kind of reference to any of it.
        unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), pages.len() / 8) }
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
    fn what_is_given_back_is_zero() {
        let mut memory = Shared::new(3 * PAGE_BYTES);
        (0..3 * PAGE_BYTES).step_by(8).for_each(|at| memory.set_word(at, 7));
        memory.give_back(PAGE_BYTES + 80);
        let is_given = |at: &usize| memory.word(*at) == 0;
        let given = (0..3 * PAGE_BYTES).step_by(8).filter(is_given).count();
        assert_eq!(given, (PAGE_BYTES + 80) / 8);
        assert_eq!((memory.word(PAGE_BYTES + 72), memory.word(PAGE_BYTES + 80)), (0, 7));
    }

    #[test]
    #[should_panic(expected = "not that of a word")]
    fn a_crooked_offset_is_refused() {
        Shared::new(64).word(4);
    }
}
