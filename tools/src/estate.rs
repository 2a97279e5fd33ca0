//! What a keeper holds for one engine, so that the engine's clients outlive it.
//!
//! The memory (records, sends under way, cold store), the vault with the clients' sockets, the
//! epoll set of the sleepers, the maps of dense sleep, and the ring of the engine that runs, with
//! the bytes that it receives. A keeper looks into none of it.
//!
//! Rings do not travel over a socket, so all of it is passed on over exec: every descriptor gets a
//! number in the new process, and an [`Inventory`] says which. Numbers begin behind that of the
//! epoll items, which has to be the same in every process that uses the set and is free so.
//!
//! Each engine has a ring of its own. That of a dead one is held until its heir serves: what the
//! heir has not applied lies in there. An heir may die before it begins to apply, so it says with
//! which ring it begins ([`Estate::begins`]): that one and its own are kept, and no other.
//!
//! Where the kernel has no vault nothing outlives an engine, and each one gets everything new.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use serde::{Deserialize, Serialize};
use torpor_engine::limits::{LIMIT_WORDS, Limits};
use torpor_engine::memory::{MEMORY_FDS, Memory};
use torpor_engine::sys::dense::Dense;
use torpor_engine::sys::lasting::{Lasting, LastingNumbers};
use torpor_engine::sys::main_ring::MainRing;

use crate::config::Config;

/// All of it.
pub struct Estate {
    limits: Limits,
    cold_dir: Option<PathBuf>,
    wants_dense: bool,
    memory: Memory,
    lasting: Lasting,
    dense: Option<Dense>,
    /// Number of the ring in `lasting`.
    ring: u32,
    /// True exactly when it was passed on.
    is_passed: bool,
    /// True exactly when an engine has begun to use that ring.
    is_begun: bool,
    /// Rings of dead engines, by their numbers.
    formers: Vec<(u32, MainRing)>,
}

/// Which number each descriptor has in a process that was started with an estate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`Limits::words`] of what it was made for.
    pub limits: [u32; LIMIT_WORDS],
    /// In the order of [`Memory::share`].
    pub memory: [RawFd; MEMORY_FDS],
    /// The vault's rings. Empty: the kernel has no vault.
    pub vault: Vec<RawFd>,
    /// The epoll set, and the number of its items.
    pub set: RawFd,
    pub item: RawFd,
    /// Records and events of dense sleep, if that is in use.
    pub dense: Option<[RawFd; 2]>,
    /// The new engine's own ring.
    pub main: RingNumbers,
    /// Those of dead engines.
    pub formers: Vec<RingNumbers>,
}

/// A ring and the bytes that are received through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingNumbers {
    /// How many the same memory has seen before.
    pub number: u32,
    pub descriptors: [RawFd; 2],
}

impl Estate {
    /// A new one, without clients.
    ///
    /// # Errors
    /// The host has no room, or the folder of the cold store cannot be written.
    pub fn create(config: &Config, limits: Limits) -> io::Result<Self> {
        Self::empty(limits, config.sleep.cold_dir.clone(), config.sleep.dense)
    }

    fn empty(limits: Limits, cold_dir: Option<PathBuf>, wants_dense: bool) -> io::Result<Self> {
        let memory = Memory::new(&limits, cold_dir.as_deref())?;
        let lasting = Lasting::create(&limits)?;
        let dense = match wants_dense.then(|| Dense::create(limits.slots_max)) {
            Some(Ok(dense)) => Some(dense),
            Some(Err(error)) => {
                tracing::warn!("sleep.dense: {error}; sleepers cost 222 bytes more each");
                None
            }
            None => None,
        };
        let (ring, is_passed, is_begun, formers) = (0, false, false, Vec::new());
        Ok(Self {
            limits,
            cold_dir,
            wants_dense,
            memory,
            lasting,
            dense,
            ring,
            is_passed,
            is_begun,
            formers,
        })
    }

    /// Passes it on to the process that `command` will start. Whoever had it before is dead.
    ///
    /// # Errors
    /// The host has no room for another ring, or no descriptors.
    pub fn pass_to(&mut self, command: &mut Command) -> io::Result<Inventory> {
        if self.is_passed {
            self.succeed()?;
        }
        self.is_passed = true;
        let (mut mappings, item) = (Vec::new(), self.lasting.items.number());
        let mut map = |descriptor: BorrowedFd<'_>| {
            let child_fd = item + 1 + mappings.len() as RawFd;
            mappings.push(FdMapping { parent_fd: descriptor.try_clone_to_owned()?, child_fd });
            Ok::<RawFd, io::Error>(child_fd)
        };
        let mut memory = [0; MEMORY_FDS];
        for (number, descriptor) in memory.iter_mut().zip(self.memory.share()?) {
            *number = map(descriptor.as_fd())?;
        }
        let mut vault = Vec::new();
        for table in self.lasting.vault.iter().flat_map(|vault| vault.descriptors()) {
            vault.push(map(table)?);
        }
        let set = map(self.lasting.items.set())?;
        let mut pair =
            |[one, other]: [BorrowedFd<'_>; 2]| Ok::<_, io::Error>([map(one)?, map(other)?]);
        let dense = self.dense.as_ref().map(|dense| pair(dense.descriptors())).transpose()?;
        let mut ring = |number: u32, ring: &MainRing| {
            let descriptors = pair(ring.descriptors())?;
            Ok::<_, io::Error>(RingNumbers { number, descriptors })
        };
        let main = ring(self.ring, &self.lasting.main)?;
        let formers = self.formers.iter().map(|(number, former)| ring(*number, former));
        let formers = formers.collect::<io::Result<_>>()?;
        let limits = self.limits.words();
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok(Inventory { limits, memory, vault, set, item, dense, main, formers })
    }

    /// The engine begins to apply what the ring of this number brings.
    pub fn begins(&mut self, ring: u32) {
        self.formers.retain(|(number, _)| *number == ring);
        self.is_begun = true;
    }

    /// The engine serves, and needs nothing of the dead any more. `true`: there was somebody.
    pub fn serves(&mut self) -> bool {
        !std::mem::take(&mut self.formers).is_empty()
    }

    /// True exactly when clients outlive their engine.
    pub fn lasts(&self) -> bool {
        self.lasting.vault.is_some()
    }

    /// The engine that had it is dead; the next one needs a ring of its own.
    fn succeed(&mut self) -> io::Result<()> {
        if !self.lasts() {
            *self = Self::empty(self.limits.clone(), self.cold_dir.take(), self.wants_dense)?;
            return Ok(());
        }
        let former = std::mem::replace(&mut self.lasting.main, MainRing::create(&self.limits)?);
        if std::mem::take(&mut self.is_begun) {
            self.formers.push((self.ring, former));
        }
        self.ring += 1;
        Ok(())
    }
}

impl Inventory {
    /// See [`Limits::words`].
    pub fn limits(&self) -> Limits {
        Limits::from_words(self.limits)
    }

    /// What lasts, of it.
    pub fn lasting(&self) -> LastingNumbers {
        let Self { vault, set, item, main, .. } = self;
        LastingNumbers { vault: vault.clone(), set: *set, item: *item, main: main.descriptors }
    }
}
