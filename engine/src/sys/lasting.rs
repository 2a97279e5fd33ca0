//! What outlives an engine beside its memory: its clients' sockets, the set that hears those who
//! sleep, and its ring.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use torpor_handoff::keep::Keep;

use crate::limits::Limits;
use crate::places::Places;

use super::items::Items;
use super::main_ring::MainRing;
use super::talks::Talks;
use super::vault::Vault;

/// Made by a keeper, used by one engine after the other.
pub struct Lasting {
    /// Has the places of the engine's limits. `None` where the kernel has no vault: then every
    /// client keeps a number, and ends with the engine.
    pub vault: Option<Arc<Vault>>,
    pub items: Items,
    /// Each engine has its own.
    pub main: MainRing,
}

/// The numbers that a [`Lasting`] has in a process that was started with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastingNumbers {
    /// The vault's rings. Empty: there is none.
    pub vault: Vec<RawFd>,
    pub set: RawFd,
    /// The number that items have, which must be free.
    pub item: RawFd,
    pub main: [RawFd; 2],
}

impl Lasting {
    /// Empty. Fails only for want of descriptors or memory (host).
    pub fn create(limits: &Limits) -> io::Result<Self> {
        let vault = Vault::create(Places::new(limits).count()).ok().map(Arc::new);
        Ok(Self { vault, ..Self::create_numbered(limits)? })
    }

    /// Without a vault, as on kernels that cannot have one.
    pub fn create_numbered(limits: &Limits) -> io::Result<Self> {
        let (items, main) = (Items::create()?, MainRing::create(limits)?);
        Ok(Self { vault: None, items, main })
    }

    /// What an ancestor has created for the same limits.
    pub fn inherit(limits: &Limits, numbers: &LastingNumbers) -> io::Result<Self> {
        let LastingNumbers { vault, set, item, main } = numbers;
        let places = Places::new(limits).count();
        let vault = (!vault.is_empty()).then(|| Vault::inherit(vault, places)).transpose()?;
        Ok(Self {
            vault: vault.map(Arc::new),
            items: Items::inherit(*set, *item)?,
            main: MainRing::inherit(limits, *main)?,
        })
    }

    /// Where the handoff thread's conversations outlive the engine; nowhere without a vault.
    pub fn talks(&self, limits: &Limits) -> Option<Arc<dyn Keep>> {
        let vault = self.vault.clone()?;
        Some(Arc::new(Talks::new(limits, vault)))
    }
}
