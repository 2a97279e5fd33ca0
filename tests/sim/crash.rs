//! The engine is killed and an heir takes over; at times the heir is killed too.
//!
//! What is lost is what a process has: descriptors, requests, threads and their channels. What
//! stays is what the keeper has: memory, the vault, the completion queues, the listening socket.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use torpor_engine::core::Core;
use torpor_engine::drive::Driver;
use torpor_engine::memory::Memory;
use torpor_engine::planted::{Killed, kill_in};
use torpor_engine::report::Counters;
use torpor_engine::ring::Span;

use crate::counting;
use crate::faults::Fault;
use crate::net::{Net, Owner};
use crate::watcher::SimWatcher;
use crate::world::{SimDesk, World};

impl World {
    /// Runs `work` as the engine; true when it was killed over it, or right after it.
    pub fn kills(&mut self, fault: Fault, per_mille: u64, work: impl FnOnce(&mut Self)) -> bool {
        let kills = self.net.borrow_mut().strikes(fault, per_mille);
        if kills {
            kill_in(1 + self.net.borrow_mut().random.below(KILL_POINTS));
        }
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        kill_in(0);
        counting::pause();
        match result {
            Err(why) if !why.is::<Killed>() => resume_unwind(why),
            _ => kills,
        }
    }

    /// The engine has been killed.
    pub fn crash(&mut self) {
        counting::take();
        let now = self.net.borrow().now;
        self.net.borrow().say(|| "KILLED".to_string());
        let Driver { core, ring, handoff, watcher, .. } = self.driver.take().expect("an engine");
        self.remember_visits(&core);
        drop(watcher);
        let mut memory = core.into_memory();
        let (ring, handoff) = (ring.heir(), handoff.heir());
        {
            let net = &mut *self.net.borrow_mut();
            // The watches died with the instance; orders that were not heard were never given.
            net.shared.clear();
            net.mailboxes.iter_mut().for_each(|mailbox| mailbox.wds = None);
            net.clients.iter_mut().for_each(|client| client.dismissed = None);
            damage(net, &mut memory);
        }
        let core = Core::revive(self.knobs(), 1 + u64::from(self.ticks), memory, now);
        let core = core.expect("memory of ours");
        let inherited = ring.inherited(core.ledger());
        let number = ring.number();
        let net = self.net.clone();
        let desk = SimDesk { net: net.clone(), counters: Counters::default(), stopped: false };
        let driver = Driver::join(core, ring, handoff, SimWatcher::new(net), desk);
        self.driver = Some(driver);
        let again = self.kills(Fault::CrashAgain, 200, |world| {
            let driver = world.driver_mut();
            for (completion, bytes) in &inherited {
                let mut completion = *completion;
                completion.bytes = Span { at: 0, count: bytes.len() as u32 };
                driver.inherit(&completion, bytes);
            }
            driver.core.take_over(number);
            driver.begin().expect("the simulated ring never fails");
        });
        if again {
            self.crash();
        }
        counting::take();
    }
}

/// A bit flips while no engine runs: in a record, or in the words of somebody.
fn damage(net: &mut Net, memory: &mut Memory) {
    if !net.strikes(Fault::Damage, 100) {
        return;
    }
    let ours = net.clients.iter().filter(|client| client.owner == Owner::Engine).count() as u64;
    let (map, bytes) = match net.random.below(3) {
        0 => (&mut memory.records, 64 * (ours + 1)),
        1 => (&mut memory.cold.blocks, 128 * (ours + 1)),
        _ => (&mut memory.cold.shelf, 4096),
    };
    let bit = net.random.below(8 * bytes);
    map[DATA_AT + bit as usize / 8] ^= 1 << (bit % 8);
    net.damages += 1;
}

/// A turn has about so many.
const KILL_POINTS: u64 = 120;
/// Behind the head and the words of an image.
const DATA_AT: usize = 4096 + 64;
