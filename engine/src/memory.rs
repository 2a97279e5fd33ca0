//! All memory of an engine that must outlive it, as one thing to hold and to hand over.

#[cfg(feature = "planted")]
pub mod spare;

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use crate::cold::ColdMaps;
use crate::image::{Foreign, Image, Kind};
use crate::limits::Limits;
use crate::sends::Sends;
use crate::slots::Slots;
use crate::sys::inherited;
use crate::sys::map::Map;

/// Records, sends under way and the cold store. What else an engine knows is made anew from them.
pub struct Memory {
    pub records: Map,
    pub sends: Map,
    pub cold: ColdMaps,
}

impl Memory {
    /// Zeros for a new engine of these limits; the cold store lies in files of `folder`, if given.
    ///
    /// # Errors
    /// The host has no room, or the folder cannot be written.
    pub fn new(limits: &Limits, folder: Option<&Path>) -> io::Result<Self> {
        let memory = |name, bytes| Map::memory(name, Image::map_bytes(bytes));
        Ok(Self {
            records: memory("torpor-records", Slots::bytes(limits.slots_max))?,
            sends: memory("torpor-sends", Sends::bytes(limits.sends_in_flight_max))?,
            cold: ColdMaps::new(limits, folder)?,
        })
    }

    /// What an ancestor holds for its engines, by the numbers that the descriptors of
    /// [`Memory::share`] have in this process.
    ///
    /// # Errors
    /// The host cannot map it.
    pub fn inherit(numbers: [RawFd; MEMORY_FDS]) -> io::Result<Self> {
        let map = |number| inherited(number).and_then(Map::adopt);
        let [records, sends, blocks, shelf, models] = numbers.map(map);
        let cold = ColdMaps { blocks: blocks?, shelf: shelf?, models: models? };
        Ok(Self { records: records?, sends: sends?, cold })
    }

    /// All of it.
    #[cfg(feature = "planted")]
    pub fn maps(&mut self) -> [&mut Map; MEMORY_FDS] {
        let Self { records, sends, cold: ColdMaps { blocks, shelf, models } } = self;
        [records, sends, blocks, shelf, models]
    }

    /// Zeros again. To a simulator new memory for each run is dearer than the run.
    #[cfg(feature = "planted")]
    pub fn wiped(mut self) -> Self {
        for map in self.maps() {
            let written: Vec<_> = map.written().collect();
            written.into_iter().for_each(|range| map[range].fill(0));
        }
        self
    }

    /// True exactly when no engine has ever used it.
    pub fn is_new(&self) -> bool {
        Image::is_new(&self.records)
    }

    /// Looks whether an engine of this program could take it over from the one that uses it.
    ///
    /// # Errors
    /// It could not: names both formats.
    pub fn check(&self) -> Result<(), Foreign> {
        if self.is_new() {
            return Ok(());
        }
        Image::check(Kind::Records, &self.records)?;
        Image::check(Kind::Sends, &self.sends)?;
        Image::check(Kind::Blocks, &self.cold.blocks)?;
        Image::check(Kind::Shelf, &self.cold.shelf)?;
        Image::check(Kind::Models, &self.cold.models)
    }

    /// Descriptors for whoever holds it for an heir.
    pub fn share(&self) -> io::Result<[OwnedFd; MEMORY_FDS]> {
        let ColdMaps { blocks, shelf, models } = &self.cold;
        let [records, sends, blocks, shelf, models] =
            [&self.records, &self.sends, blocks, shelf, models].map(Map::share);
        Ok([records?, sends?, blocks?, shelf?, models?])
    }
}

/// Descriptors of an engine's memory.
pub const MEMORY_FDS: usize = 5;
