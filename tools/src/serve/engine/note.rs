//! What the keeper of an engine leaves to the next image of its process.

use std::io;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::process::{self, Process};
use super::{CLEARED_AWAY, EngineKeeper};
use crate::estate::{self, Estate};
use crate::luggage::Luggage;
use crate::serve::helper::Helper;
use crate::serve::watcher::WatcherKeeper;

/// An engine, its estate and its helper, as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub number: u32,
    helper: u32,
    /// Pids.
    watchers: Vec<u32>,
    pub estate: estate::Note,
    process: Option<process::Note>,
}

impl EngineKeeper {
    /// What the next image of this process finds, and takes along.
    ///
    /// # Errors
    /// Never: descriptors keep their numbers.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> io::Result<Note> {
        let estate = self.estate.note(luggage)?;
        let process = self.process.as_ref().map(|process| process.note(luggage));
        let (helper, watchers) = (self.helper.pid(), self.watcher.pids().collect());
        Ok(Note { number: self.number, helper, watchers, estate, process })
    }

    /// Lends its estate alone, under the numbers of [`EngineKeeper::note`].
    ///
    /// # Errors
    /// Never: descriptors keep their numbers.
    pub fn lend_estate<'a>(&'a self, luggage: &mut Luggage<'a>) -> io::Result<()> {
        self.estate.note(luggage).map(drop)
    }

    /// What the image before this one has noted. An engine that has ended is started at once.
    ///
    /// # Errors
    /// A descriptor is not open.
    pub fn unpack(note: Note) -> io::Result<Self> {
        let estate = Estate::unpack(note.estate)?;
        let process = note.process.as_ref().map(Process::unpack).transpose()?;
        let mut engine = Self::new(note.number, Helper::of(note.helper), estate, process);
        // It gets another watcher, of this program.
        engine.watcher = WatcherKeeper::new(note.number, &note.watchers);
        engine.has_clients = true;
        // It may have been due before.
        engine.relisten = Some(Instant::now() + CLEARED_AWAY);
        Ok(engine)
    }
}
