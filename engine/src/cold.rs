//! The cold store: words that are needed only when a client wakes.
//!
//! ```text
//!  a whole line ────────────────► packed on the shelf       (most: some 130 bytes)
//!  pieces of a line ──► chain ──┘       │ side
//!                         │             └──► chain: input, output left over
//!                         └─ stays there (strange, or too long)
//! ```
//! A line that arrives in pieces does so in a chain of blocks. Whole, it is stored as its
//! difference from a line of the same shape. Every entry and every model carries a checksum. An
//! entry that fails it is never read, nor given back, so damage stays where it is. Memory is zeroed
//! when it is given back, since lines carry authentication tokens.

mod calm;
mod chain;
mod kind;
mod lines;
mod maps;
mod model;
mod pack;
mod revive;
mod shape;
mod shelf;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use crate::image::{Foreign, Image, Kind};
use crate::limits::Limits;
use chain::Chains;
use lines::{Damaged, Lines};
use model::{MODELS_BYTES, Models};
use shelf::Shelf;

pub use chain::BLOCK_BYTES;
pub use maps::ColdMaps;
pub use revive::Claims;

/// The store. An entry is named by a number that a record can hold.
pub struct Cold {
    chains: Chains,
    lines: Lines,
    damaged: u64,
}

impl Cold {
    /// Room for the limits: in memory, or in files of this folder, so that what sleeps need not
    /// be resident.
    ///
    /// # Errors
    /// The host has no room, or the folder cannot be written.
    pub fn new(limits: &Limits, folder: Option<&Path>) -> io::Result<Self> {
        Ok(Self::over(ColdMaps::new(limits, folder)?))
    }

    /// An empty store in new memory.
    pub fn over(maps: ColdMaps) -> Self {
        let shelf = Shelf::new(Image::new(Kind::Shelf, maps.shelf));
        let models = Models::new(Image::new(Kind::Models, maps.models));
        let chains = Chains::new(Image::new(Kind::Blocks, maps.blocks));
        Self { chains, lines: Lines::new(shelf, models), damaged: 0 }
    }

    /// The store of an engine that was killed after it had committed this transaction. The caller
    /// claims what its records name, and frees the rest, before anything else is done.
    ///
    /// # Errors
    /// The memory is none of ours.
    pub fn revive(maps: ColdMaps, committed: u64, blocks_max: u32) -> Result<Self, Foreign> {
        let open = |kind, map| {
            let mut image = Image::open(kind, map)?;
            image.roll_back(committed);
            Ok(image)
        };
        let blocks = open(Kind::Blocks, maps.blocks)?;
        if blocks.len() != blocks_max as usize * BLOCK_BYTES {
            return Err(Foreign::Size(Kind::Blocks));
        }
        let chains = Chains::new(blocks);
        let mut shelf = Shelf::new(open(Kind::Shelf, maps.shelf)?);
        shelf.revive();
        let models = open(Kind::Models, maps.models)?;
        if models.len() < MODELS_BYTES {
            return Err(Foreign::Size(Kind::Models));
        }
        let lines = Lines::new(shelf, Models::new(models));
        Ok(Self { chains, lines, damaged: 0 })
    }

    /// Begins a transaction, see [`Image`].
    pub fn begin(&mut self, epoch: u64) {
        self.chains.image.begin(epoch);
        self.lines.shelf.image.begin(epoch);
        self.lines.models.memory.begin(epoch);
    }

    /// What the store lies in, for an heir.
    pub fn into_maps(self) -> ColdMaps {
        let Lines { shelf, models, .. } = self.lines;
        let blocks = self.chains.image.into_map();
        ColdMaps { blocks, shelf: shelf.image.into_map(), models: models.memory.into_map() }
    }

    /// A chain for a line to come, or `None` when the store is full.
    pub fn open(&mut self) -> Option<u32> {
        self.chains.open()
    }

    /// Adds to the line of a chain. `false` when the store is full: the chain is of no use then
    /// but to be closed.
    #[must_use]
    pub fn append_line(&mut self, chain: u32, bytes: &[u8]) -> bool {
        assert!(shelved(chain).is_none(), "a line that is whole");
        self.chains.append_line(chain, bytes)
    }

    /// Bytes of the line that have come.
    pub fn line_bytes(&self, chain: u32) -> usize {
        assert!(shelved(chain).is_none(), "a line that is whole");
        self.chains.line_bytes(chain)
    }

    /// The entry for a whole line: packed if that is possible, else in a chain. `None`, and
    /// nothing has changed, when the store is full.
    pub fn store(&mut self, line: &[u8]) -> Option<u32> {
        if let Some(place) = self.lines.keep(line) {
            return Some(place | SHELVED);
        }
        let chain = self.open()?;
        if !self.append_line(chain, line) {
            self.close(chain);
            return None;
        }
        Some(chain)
    }

    /// The line of this chain is whole, and has been read: the entry to keep in place of it.
    pub fn keep(&mut self, chain: u32, line: &[u8]) -> u32 {
        assert_eq!(self.line_bytes(chain), line.len(), "another line");
        let Some(place) = self.lines.keep(line) else { return chain };
        self.close(chain);
        place | SHELVED
    }

    /// The entry for another line in place of this one's, or `None`, and nothing has changed, when
    /// there is no room for it.
    #[must_use]
    pub fn replace(&mut self, entry: u32, line: &[u8]) -> Option<u32> {
        assert!(!self.has_output(entry), "output would be forgotten");
        let new = self.store(line)?;
        self.close(entry);
        Some(new)
    }

    /// Copies the line behind what `out` holds; `false`, and nothing is copied, when the entry is
    /// damaged.
    #[must_use]
    pub fn read_line(&mut self, entry: u32, out: &mut Vec<u8>) -> bool {
        match shelved(entry) {
            Some(place) => self.lines.read(place, out).is_ok(),
            None => self.chains.read_line(entry, out),
        }
    }

    /// Adds client input. `false` when the store is full. What is added to a damaged entry is
    /// lost, like the rest of it.
    #[must_use]
    pub fn append_input(&mut self, entry: u32, bytes: &[u8]) -> bool {
        match self.side_or_new(entry) {
            Ok(Some(chain)) => self.chains.append_input(chain, bytes),
            side => side.is_err(),
        }
    }

    /// Copies the input; `false` when the entry is damaged.
    #[must_use]
    pub fn read_input(&self, entry: u32, out: &mut Vec<u8>) -> bool {
        match self.side(entry) {
            Ok(Some(chain)) => self.chains.read_input(chain, out),
            side => side.is_ok(),
        }
    }

    /// Keeps output that a short write left over. `false` when the store is full.
    #[must_use]
    pub fn set_output(&mut self, entry: u32, bytes: &[u8]) -> bool {
        match self.side_or_new(entry) {
            Ok(Some(chain)) => self.chains.set_output(chain, bytes),
            side => side.is_err(),
        }
    }

    /// True exactly when output is left over.
    pub fn has_output(&self, entry: u32) -> bool {
        matches!(self.side(entry), Ok(Some(chain)) if self.chains.has_output(chain))
    }

    /// Copies the output left over; `false` when the entry is damaged.
    #[must_use]
    pub fn read_output(&self, entry: u32, out: &mut Vec<u8>) -> bool {
        match self.side(entry) {
            Ok(Some(chain)) => self.chains.read_output(chain, out),
            side => side.is_ok(),
        }
    }

    /// Gives back all that an entry has, zeroed. A damaged one is left alone for ever: what it
    /// says of its memory may be somebody else's.
    pub fn close(&mut self, entry: u32) {
        let closed = match self.side(entry) {
            Ok(Some(chain)) => self.chains.close(chain),
            side => side.is_ok(),
        };
        match shelved(entry) {
            _ if !closed => self.damaged += 1,
            Some(place) => self.lines.close(place),
            None => {}
        }
    }

    /// Blocks in use.
    pub fn used(&self) -> u32 {
        self.chains.used()
    }

    /// Bytes on the shelf.
    pub fn shelf_bytes(&self) -> u64 {
        self.lines.shelf.used_bytes()
    }

    /// Entries that were found damaged and left alone.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// True when a line of this many bytes would still fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.chains.has_room(bytes)
    }

    /// The sound chain in which an entry's input and output lie, if it has one.
    fn side(&self, entry: u32) -> Result<Option<u32>, Damaged> {
        let chain = match shelved(entry) {
            Some(place) => self.lines.side(place)?,
            None => Some(entry),
        };
        let sound = chain.is_none_or(|chain| self.chains.is_sound(chain));
        if sound { Ok(chain) } else { Err(Damaged) }
    }

    /// The same with a new chain where there is none; `None` when the store is full.
    fn side_or_new(&mut self, entry: u32) -> Result<Option<u32>, Damaged> {
        let mut side = self.side(entry)?;
        if side.is_none() {
            side = self.open();
            if let (Some(place), Some(chain)) = (shelved(entry), side) {
                self.lines.set_side(place, chain);
            }
        }
        Ok(side)
    }
}

/// The place of an entry on the shelf; the others are chains.
fn shelved(entry: u32) -> Option<u32> {
    (entry & SHELVED != 0).then_some(entry & !SHELVED)
}

/// Longest line that is packed; a longer one stays in its chain.
pub const LINE_BYTES_MAX: usize = 2048;

const SHELVED: u32 = 1 << 31;
