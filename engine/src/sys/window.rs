//! Memory that the kernel, or another process, shares with us.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// Words that both sides may write at any time.
pub struct Window {
    map: MmapRaw,
}

impl Window {
    /// `bytes` bytes of it, from the offset on.
    pub fn new(map: &OwnedFd, offset: usize, bytes: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset as u64).len(bytes).map_raw(map.as_raw_fd())?;
        Ok(Self { map })
    }

    /// The same, of what only the kernel may write.
    pub fn read_only(map: &OwnedFd, offset: usize, bytes: usize) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.offset(offset as u64).len(bytes);
        Ok(Self { map: options.map_raw_read_only(map.as_raw_fd())? })
    }

    /// The word at a byte offset.
    pub fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::SeqCst)
    }

    /// Stores it. Not for a window that is only read.
    pub fn set(&self, at: usize, word: u64) {
        self.word(at).store(word, Ordering::SeqCst);
    }

    /// The address of the byte at `at`, for the kernel.
    pub fn address(&self, at: usize) -> u64 {
        assert!(at < self.map.len(), "offset {at} lies outside");
        self.map.as_mut_ptr().expose_provenance() as u64 + at as u64
    }

    /// Appends `count` bytes from offset `at` on, which must be a multiple of eight.
    pub fn read(&self, at: usize, count: usize, out: &mut Vec<u8>) {
        let end = out.len() + count;
        for offset in (0..count).step_by(8) {
            let bytes = self.get(at + offset).to_ne_bytes();
            out.extend_from_slice(&bytes[..8.min(count - offset)]);
        }
        assert_eq!(out.len(), end, "a read of {count} bytes brings as many");
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.map.len(), "offset {at} lies outside");
        // SAFETY: the mapping lives as long as `self`, begins at a page and holds the whole word,
        // as was just asserted. Whoever else writes to it does so a word at a time.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }
}
