//! Memory that a map of the kernel shares with us.
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
    /// `bytes` bytes of a map, from the offset on.
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

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.map.len(), "offset {at} lies outside");
        // SAFETY: the mapping lives as long as `self`, begins at a page and holds the whole word,
        // as was just asserted. Whoever else writes to it does so a word at a time.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }
}
