//! From what the keeper holds to a core and its ring: new, or in the place of an engine that died.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use torpor_engine::core::{Core, Now};
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::memory::Memory;
use torpor_engine::ring::Completion;
use torpor_engine::sys::dense::Dense;
use torpor_engine::sys::inherited;
use torpor_engine::sys::lasting::Lasting;
use torpor_engine::sys::main_ring::MainRing;

use super::parts::Engine;
use crate::estate::{Inventory, Ring};
use crate::link::{Link, Word};

/// A core, and what it needs to go on where another has ended.
pub struct Heir {
    pub core: Core,
    pub lasting: Lasting,
    /// The shared inotify instance.
    pub watch: OwnedFd,
    succession: Succession,
}

/// What the dead engine had been told and not applied, in order. Of no use where nobody died.
pub struct Succession {
    rest: Vec<(Completion, Vec<u8>)>,
    /// Number of the new ring, unless it is the first, which needs no mention.
    ring: Option<u32>,
}

impl Heir {
    /// Takes up what this process was started with, and tells the keeper whose place it takes.
    ///
    /// # Errors
    /// The host is in the way, or the memory is none of ours; the keeper goes on holding it.
    pub fn take(
        inventory: &Inventory,
        (knobs, seed, now): (Knobs, u64, Now),
        link: &Link,
    ) -> io::Result<Self> {
        let Some([mailboxes, watch]) = inventory.watches else {
            return Err(io::Error::other("the keeper holds no watches"));
        };
        let memory = Memory::inherit(inventory.memory, Some(mailboxes), &inventory.limits())?;
        let is_new = memory.is_new();
        let core = match is_new {
            true => Core::with_memory(&inventory.limits(), knobs, seed, memory),
            false => Core::revive(knobs, seed, memory, now).map_err(io::Error::other)?,
        };
        let limits = core.limits().clone();
        let mut lasting = Lasting::inherit(&limits, &inventory.lasting())?;
        if let Some([records, events]) = inventory.dense {
            lasting.items.use_dense(Dense::inherit(limits.slots_max, records, events)?)?;
        }
        let begins = if is_new { inventory.main.number } else { core.ledger().ring };
        // A keeper that is gone is not missed.
        let _ = link.send(Word::Begins, &begins.to_string(), None);
        let rest = match is_new {
            true => Vec::new(),
            false => rest(&inventory.formers, &limits, &core)?,
        };
        let ring = (core.ledger().ring != inventory.main.number).then_some(inventory.main.number);
        let watch = inherited(watch)?;
        Ok(Self { core, lasting, watch, succession: Succession { rest, ring } })
    }

    /// The parts, for who joins them with others.
    pub fn into_parts(self) -> (Core, Lasting, OwnedFd, Succession) {
        (self.core, self.lasting, self.watch, self.succession)
    }
}

impl Succession {
    /// Brings the dead engine's last step to its end, takes its clients up and begins. Must be
    /// called by the thread that turns the engine from then on.
    pub fn accede(self, engine: &mut Engine) -> io::Result<()> {
        for (done, bytes) in &self.rest {
            engine.inherit(done, bytes);
        }
        if let Some(ring) = self.ring {
            engine.core.take_over(ring);
        }
        engine.begin()
    }
}

/// Every ring is taken over, so that all are closed when this has ended: a ring keeps what was
/// armed in it.
fn rest(
    formers: &[Ring<RawFd>],
    limits: &Limits,
    core: &Core,
) -> io::Result<Vec<(Completion, Vec<u8>)>> {
    let ledger = core.ledger();
    let mut rest = None;
    for former in formers {
        let mut ring = MainRing::inherit(limits, former.descriptors)?;
        if former.number == ledger.ring {
            rest = Some(ring.rest(limits, ledger.applied)?);
        }
    }
    match rest {
        Some(rest) => Ok(rest),
        // Killed before it had begun.
        None if ledger.ring == 0 && ledger.applied == 0 => Ok(Vec::new()),
        None => Err(io::Error::other(format!("ring {} was not handed on", ledger.ring))),
    }
}
