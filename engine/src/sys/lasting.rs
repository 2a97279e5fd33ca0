//! What outlives an engine: its clients' sockets, and the set that hears those who sleep.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use torpor_handoff::keep::Keep;

use crate::limits::Limits;
use crate::places::Places;

use super::items::Items;
use super::talks::Talks;
use super::vault::Vault;

/// Made by a keeper, used by one engine after the other.
pub struct Lasting {
    /// Has the places of the engine's limits. `None` where the kernel has no vault: then every
    /// client keeps a number, and ends with the engine.
    pub vault: Option<Arc<Vault>>,
    pub items: Items,
}

impl Lasting {
    /// Empty. Fails only for want of descriptors or memory (host).
    pub fn create(limits: &Limits) -> io::Result<Self> {
        let vault = Vault::create(Places::new(limits).count()).ok().map(Arc::new);
        Ok(Self { vault, items: Items::create()? })
    }

    /// Without a vault, as on kernels that cannot have one.
    pub fn create_numbered() -> io::Result<Self> {
        Ok(Self { vault: None, items: Items::create()? })
    }

    /// What an ancestor has created for the same limits, by the numbers that its rings and its
    /// set have in this process, and the number that the items have.
    pub fn inherit(
        limits: &Limits,
        rings: &[RawFd],
        set: RawFd,
        number: RawFd,
    ) -> io::Result<Self> {
        let vault = Vault::inherit(rings, Places::new(limits).count())?;
        Ok(Self { vault: Some(Arc::new(vault)), items: Items::inherit(set, number)? })
    }
    /// Where the handoff thread's conversations outlive the engine; nowhere without a vault.
    pub fn talks(&self, limits: &Limits) -> Option<Arc<dyn Keep>> {
        let vault = self.vault.clone()?;
        Some(Arc::new(Talks::new(limits, vault)))
    }
}
