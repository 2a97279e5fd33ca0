//! What went over one connection, byte for byte, and when.

use std::fmt;
use std::time::{Duration, Instant};

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// The bytes of one read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Time since the connection was opened.
    pub at: Duration,
    pub side: Side,
    pub bytes: Vec<u8>,
}

/// All reads and writes of one connection, oldest first.
#[derive(Clone, Debug)]
pub struct Transcript {
    opened: Instant,
    entries: Vec<Entry>,
}

impl Transcript {
    pub(super) fn new() -> Transcript {
        Transcript { opened: Instant::now(), entries: Vec::new() }
    }

    pub(super) fn add(&mut self, side: Side, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "an entry holds bytes");
        self.entries.push(Entry { at: self.opened.elapsed(), side, bytes: bytes.to_vec() });
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All bytes of one side, joined.
    pub fn bytes(&self, side: Side) -> Vec<u8> {
        let of_side = self.entries.iter().filter(|entry| entry.side == side);
        of_side.flat_map(|entry| entry.bytes.iter().copied()).collect()
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { at, side, bytes } in &self.entries {
            let side = if *side == Side::Client { 'C' } else { 'S' };
            writeln!(out, "{:9.3} {side}: {}", at.as_secs_f64(), bytes.escape_ascii())?;
        }
        Ok(())
    }
}
