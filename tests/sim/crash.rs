//! The engine is killed and an heir takes over; at times the heir is killed too.
//!
//! What is lost is what a process has: descriptors, requests, threads and their channels. What
//! stays is what the keeper has: memory, the vault, the completion queues, the inotify instance,
//! the listening socket. The dead engine's watcher may do some of its orders still.

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
        let watcher = watcher.heir();
        let mailboxes_max = core.limits().mailboxes_max;
        let mut memory = core.into_memory();
        let (ring, handoff) = (ring.heir(), handoff.heir());
        {
            let net = &mut *self.net.borrow_mut();
            // Orders that were not heard were never given.
            net.clients.iter_mut().for_each(|client| client.dismissed = None);
            damage(net, &mut memory, mailboxes_max);
        }
        let core = Core::revive(self.knobs(), 1 + u64::from(self.ticks), memory, now);
        let core = core.expect("memory of ours");
        let inherited = ring.inherited(core.ledger());
        let number = ring.number();
        let net = self.net.clone();
        let desk = SimDesk { net, counters: Counters::default(), stopped: false };
        let driver = Driver::join(core, ring, handoff, watcher, desk);
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

/// A bit flips while no engine runs: in a record, in the words of somebody, or in a mailbox, which
/// costs nobody anything.
fn damage(net: &mut Net, memory: &mut Memory, mailboxes_max: u32) {
    if !net.strikes(Fault::Damage, 100) {
        return;
    }
    let ours = net.clients.iter().filter(|client| client.owner == Owner::Engine).count() as u64;
    let (map, bytes, costs) = match net.random.below(4) {
        0 => (&mut memory.records, 64 * (ours + 1), true),
        1 => (&mut memory.cold.blocks, 128 * (ours + 1), true),
        2 => (&mut memory.cold.shelf, 4096, true),
        _ => (&mut memory.mailboxes, 64 * u64::from(mailboxes_max).div_ceil(3), false),
    };
    let bit = net.random.below(8 * bytes);
    map[DATA_AT + bit as usize / 8] ^= 1 << (bit % 8);
    net.damages += u32::from(costs);
}

/// A turn has about so many.
const KILL_POINTS: u64 = 120;
/// Behind the head and the words of an image.
const DATA_AT: usize = 4096 + 64;
