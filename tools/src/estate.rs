//! What a keeper holds for one engine, so that the engine's clients outlive it.
//!
//! The memory (records, sends under way, cold store, mailboxes), the vault with the clients'
//! sockets, the epoll set of the sleepers, the maps of dense sleep, the inotify instance with the
//! watches of the mailboxes, and the ring of the engine that runs, with the bytes that it receives.
//! A keeper looks into none of it.
//!
//! Rings do not travel over a socket, so all of it is passed on over exec: every descriptor gets a
//! number in the new process, and an [`Inventory`] says which. They keep these numbers as long as
//! an engine lives, so a new keeper can take them from it (pidfd_getfd(2)).
//!
//! Each engine has a ring of its own. That of a dead one is held until its heir serves: what the
//! heir has not applied lies in there. An heir may die before it begins to apply, so it says with
//! which ring it begins ([`Estate::begins`]): that one and its own are kept, and no other.
//!
//! Where the kernel has no vault nothing outlives an engine, and each one gets everything new.

mod contents;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use torpor_engine::limits::Limits;
use torpor_engine::memory::Memory;
use torpor_engine::sys::dense::Dense;
use torpor_engine::sys::inherited;
use torpor_engine::sys::lasting::Lasting;
use torpor_engine::sys::main_ring::MainRing;
use torpor_engine::sys::vault::Vault;
use torpor_engine::watcher;

use crate::config::{Config, Sleep};
use crate::luggage::Luggage;
use crate::outfit::Outfit;

pub use contents::{Contents, Inventory, Ring};

/// All of it. Descriptors and nothing else: a keeper maps no memory and enters no ring.
pub struct Estate {
    contents: Contents<OwnedFd>,
    cold_dir: Option<PathBuf>,
    wants_dense: bool,
    /// True exactly when it was passed on.
    is_passed: bool,
    /// False exactly when it is certain that no engine has begun to use `contents.main`.
    is_begun: bool,
}

/// An estate as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub contents: Inventory,
    cold_dir: Option<PathBuf>,
    wants_dense: bool,
    is_passed: bool,
    is_begun: bool,
}

impl Note {
    /// Looks whether an engine of this program could take it over; to be called by a process of its
    /// own, which ends then. Writes nothing, and enters no ring.
    ///
    /// # Errors
    /// It could not, for this reason.
    pub fn check(&self) -> io::Result<()> {
        let limits = self.contents.limits();
        limits.check().map_err(|error| io::Error::other(format!("limits: {error}")))?;
        let mailboxes = self.contents.watches.map(|[mailboxes, _]| mailboxes);
        let memory = Memory::inherit(self.contents.memory, mailboxes, &limits)?;
        memory.check().map_err(io::Error::other)?;
        let (rings, expected) = (self.contents.vault.len(), Vault::tables(&limits));
        if rings != expected {
            let text = format!("its vault has {rings} rings, and this program needs {expected}");
            return Err(io::Error::other(text));
        }
        for ring in self.contents.formers.iter().chain([&self.contents.main]) {
            MainRing::inherit(&limits, ring.descriptors)?;
        }
        Ok(())
    }
}

impl Estate {
    /// A new one, without clients.
    ///
    /// # Errors
    /// The host has no room, or the folder of the cold store cannot be written.
    pub fn create(config: &Config, limits: &Limits) -> io::Result<Self> {
        Self::empty(limits, config.sleep.cold_dir.clone(), config.sleep.dense)
    }

    fn empty(limits: &Limits, cold_dir: Option<PathBuf>, wants_dense: bool) -> io::Result<Self> {
        let memory = Memory::new(limits, cold_dir.as_deref())?.share()?;
        let lasting = Lasting::create(limits)?;
        let dense = match wants_dense.then(|| Dense::create(limits.slots_max)) {
            Some(Ok(dense)) => Some(dense),
            Some(Err(error)) => {
                tracing::warn!("sleep.dense: {error}; sleepers cost 222 bytes more each");
                None
            }
            None => None,
        };
        let vault = lasting.vault.iter().flat_map(|vault| vault.descriptors());
        let contents = Contents {
            limits: limits.words(),
            memory: memory.each_ref().map(OwnedFd::as_fd),
            vault: vault.collect(),
            set: lasting.items.set(),
            item: lasting.items.number(),
            dense: dense.as_ref().map(Dense::descriptors),
            links: dense.iter().flat_map(Dense::links).collect(),
            watches: None,
            main: Ring { number: 0, descriptors: lasting.main.descriptors() },
            formers: Vec::new(),
        };
        let contents = contents.map(|descriptor| descriptor.try_clone_to_owned())?;
        let (is_passed, is_begun) = (false, false);
        Ok(Self { contents, cold_dir, wants_dense, is_passed, is_begun })
    }

    /// That of an engine which runs, by descriptors that were taken from it.
    pub fn of_living(config: &Config, contents: Contents<OwnedFd>) -> Self {
        let Sleep { cold_dir, dense, .. } = config.sleep.clone();
        // It may have begun, and will say so.
        Self { contents, cold_dir, wants_dense: dense, is_passed: true, is_begun: true }
    }

    /// For a process that is to get it: numbers begin behind that of the epoll items, which has to
    /// be free there.
    pub fn outfit(&self) -> Outfit {
        Outfit::behind(self.contents.item)
    }

    /// Passes it on to a process that is about to be started. Whoever had it before is dead.
    ///
    /// # Errors
    /// The host has no room for another ring, no inotify instance, or no descriptors.
    pub fn pass(&mut self, outfit: &mut Outfit) -> io::Result<Inventory> {
        if self.is_passed {
            self.succeed()?;
        }
        if self.contents.watches.is_none() {
            let mailboxes = Memory::new_mailboxes(&self.limits())?.share()?;
            self.contents.watches = Some([mailboxes, watcher::instance()?]);
        }
        self.is_passed = true;
        self.contents.map(|descriptor| outfit.put(descriptor.as_fd()))
    }

    /// What the next image of this process finds, and takes along.
    ///
    /// # Errors
    /// Never: descriptors keep their numbers.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> io::Result<Note> {
        Ok(Note {
            contents: self.contents.map(|held| Ok(luggage.pack(held)))?,
            cold_dir: self.cold_dir.clone(),
            wants_dense: self.wants_dense,
            is_passed: self.is_passed,
            is_begun: self.is_begun,
        })
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// A descriptor is not open.
    pub fn unpack(note: Note) -> io::Result<Self> {
        let Note { contents, cold_dir, wants_dense, is_passed, is_begun } = note;
        let contents = contents.map(|number| inherited(*number))?;
        Ok(Self { contents, cold_dir, wants_dense, is_passed, is_begun })
    }

    /// The engine begins to apply what the ring of this number brings.
    pub fn begins(&mut self, ring: u32) {
        self.contents.formers.retain(|former| former.number == ring);
        self.is_begun = true;
    }

    /// The engine serves, and needs nothing of the dead any more. `true`: there was somebody.
    pub fn serves(&mut self) -> bool {
        !std::mem::take(&mut self.contents.formers).is_empty()
    }

    /// True exactly when clients outlive their engine.
    pub fn lasts(&self) -> bool {
        !self.contents.vault.is_empty()
    }

    /// What it was made for.
    pub fn limits(&self) -> Limits {
        self.contents.limits()
    }

    /// The engine that had it is dead; the next one needs a ring of its own.
    fn succeed(&mut self) -> io::Result<()> {
        let limits = self.limits();
        if !self.lasts() {
            *self = Self::empty(&limits, self.cold_dir.take(), self.wants_dense)?;
            return Ok(());
        }
        let new = MainRing::create(&limits)?;
        let [ring, received] = new.descriptors().map(|held| held.try_clone_to_owned());
        let (main, formers) = (&mut self.contents.main, &mut self.contents.formers);
        let mut next = Ring { number: main.number, descriptors: [ring?, received?] };
        // The number of one that was never used is free again.
        if std::mem::take(&mut self.is_begun) {
            next.number += 1;
            formers.push(std::mem::replace(main, next));
        } else {
            *main = next;
        }
        Ok(())
    }
}
