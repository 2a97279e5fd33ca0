//! What an estate consists of: a descriptor each, whether it is held or is a number elsewhere.

use std::array;
use std::io;
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};
use torpor_engine::limits::{LIMIT_WORDS, Limits};
use torpor_engine::memory::MEMORY_FDS;
use torpor_engine::sys::lasting::LastingNumbers;

/// All of it, with `D` for a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents<D> {
    /// [`Limits::words`] of what it was made for.
    pub limits: [u32; LIMIT_WORDS],
    /// In the order of [`torpor_engine::memory::Memory::share`].
    pub memory: [D; MEMORY_FDS],
    /// The vault's rings. Empty: the kernel has no vault.
    pub vault: Vec<D>,
    /// The epoll set, and the number of its items.
    pub set: D,
    pub item: RawFd,
    /// Records and events of dense sleep, if that is in use.
    pub dense: Option<[D; 2]>,
    /// What keeps its programs running, by being open anywhere.
    pub links: Vec<D>,
    /// Memory of the mailboxes, and the inotify instance with their watches. `None` from a keeper
    /// of before: its next heir gets both, and wakes once whoever sleeps on a mailbox.
    #[serde(default)]
    pub watches: Option<[D; 2]>,
    /// The ring of the engine that runs, or is to run next.
    pub main: Ring<D>,
    /// Those of dead engines.
    pub formers: Vec<Ring<D>>,
}

/// A ring and the bytes that are received through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring<D> {
    /// How many the same memory has seen before.
    pub number: u32,
    pub descriptors: [D; 2],
}

/// Which number each descriptor has in a process that was started with an estate.
pub type Inventory = Contents<RawFd>;

impl<D> Contents<D> {
    /// The same with something else for each descriptor, always in the same order.
    ///
    /// # Errors
    /// The first of `to`.
    pub fn map<'a, E>(
        &'a self,
        mut to: impl FnMut(&'a D) -> io::Result<E>,
    ) -> io::Result<Contents<E>> {
        let memory = each(&self.memory, &mut to)?;
        let vault = self.vault.iter().map(&mut to).collect::<io::Result<_>>()?;
        let set = to(&self.set)?;
        let dense = self.dense.as_ref().map(|maps| each(maps, &mut to)).transpose()?;
        let links = self.links.iter().map(&mut to).collect::<io::Result<_>>()?;
        let watches = self.watches.as_ref().map(|both| each(both, &mut to)).transpose()?;
        let mut ring = |ring: &'a Ring<D>| ring.map(&mut to);
        let main = ring(&self.main)?;
        let formers = self.formers.iter().map(ring).collect::<io::Result<_>>()?;
        let (limits, item) = (self.limits, self.item);
        Ok(Contents { limits, memory, vault, set, item, dense, links, watches, main, formers })
    }

    /// See [`Limits::words`].
    pub fn limits(&self) -> Limits {
        Limits::from_words(self.limits)
    }
}

impl<D> Ring<D> {
    /// See [`Contents::map`].
    ///
    /// # Errors
    /// The first of `to`.
    pub fn map<'a, E>(&'a self, mut to: impl FnMut(&'a D) -> io::Result<E>) -> io::Result<Ring<E>> {
        Ok(Ring { number: self.number, descriptors: each(&self.descriptors, &mut to)? })
    }
}

impl Inventory {
    /// What lasts, of it.
    pub fn lasting(&self) -> LastingNumbers {
        let Self { vault, set, item, main, .. } = self;
        LastingNumbers { vault: vault.clone(), set: *set, item: *item, main: main.descriptors }
    }
}

fn each<'a, D, E, const N: usize>(
    these: &'a [D; N],
    to: &mut impl FnMut(&'a D) -> io::Result<E>,
) -> io::Result<[E; N]> {
    let those = these.iter().map(to).collect::<io::Result<Vec<E>>>()?;
    let mut those = those.into_iter();
    Ok(array::from_fn(|_| those.next().expect("as many come out as went in")))
}
