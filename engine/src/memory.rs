//! All memory of an engine that must outlive it, as one thing to hold and to hand over.

#[cfg(feature = "planted")]
pub mod spare;

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use crate::cold::ColdMaps;
use crate::image::{Foreign, Image, Kind};
use crate::limits::Limits;
use crate::mailboxes::Nodes;
use crate::sends::Sends;
use crate::slots::Slots;
use crate::sys::inherited;
use crate::sys::map::Map;

/// Records, sends under way, the cold store, mailboxes. What else an engine knows is made anew from
/// them.
pub struct Memory {
    pub records: Map,
    pub sends: Map,
    pub cold: ColdMaps,
    pub mailboxes: Map,
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
            mailboxes: Self::new_mailboxes(limits)?,
        })
    }

    /// Zeros for mailboxes alone, for a keeper that has none yet.
    ///
    /// # Errors
    /// The host has no room.
    pub fn new_mailboxes(limits: &Limits) -> io::Result<Map> {
        Map::memory("torpor-mailboxes", Image::map_bytes(Nodes::bytes(limits.mailboxes_max)))
    }

    /// What an ancestor holds for its engines, by the numbers that the descriptors of
    /// [`Memory::share`] have in this process, and that of [`Memory::new_mailboxes`] for these
    /// limits; `None`: of no mailbox is known what happened to it.
    ///
    /// # Errors
    /// The host cannot map it.
    pub fn inherit(
        numbers: [RawFd; MEMORY_FDS],
        mailboxes: Option<RawFd>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let map = |number| inherited(number).and_then(Map::adopt);
        let [records, sends, blocks, shelf, models] = numbers.map(map);
        let cold = ColdMaps { blocks: blocks?, shelf: shelf?, models: models? };
        let mailboxes = mailboxes.map_or_else(|| Self::new_mailboxes(limits), map)?;
        Ok(Self { records: records?, sends: sends?, cold, mailboxes })
    }

    /// All of it.
    #[cfg(feature = "planted")]
    pub fn maps(&mut self) -> [&mut Map; MEMORY_FDS + 1] {
        let Self { records, sends, cold: ColdMaps { blocks, shelf, models }, mailboxes } = self;
        [records, sends, blocks, shelf, models, mailboxes]
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

    /// Descriptors of all but mailboxes, for whoever holds it for an heir.
    pub fn share(&self) -> io::Result<[OwnedFd; MEMORY_FDS]> {
        let ColdMaps { blocks, shelf, models } = &self.cold;
        let [records, sends, blocks, shelf, models] =
            [&self.records, &self.sends, blocks, shelf, models].map(Map::share);
        Ok([records?, sends?, blocks?, shelf?, models?])
    }
}

/// Descriptors of an engine's memory, beside that of mailboxes.
pub const MEMORY_FDS: usize = 5;
