//! The engine ends and another takes over: it was killed in the midst of something, or it makes
//! room for a newer binary, which may fail at that.
//!
//! What is lost is what a process has: descriptors, requests, threads and their channels. What
//! stays is the estate that the keeper holds: memory, the vault, the completion queues, the epoll
//! set, the inotify instance, the listening socket. Without a keeper nothing stays.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use torpor_engine::core::{Core, Now};
use torpor_engine::drive::Driver;
use torpor_engine::memory::spare;
use torpor_engine::planted::{Killed, kill_in};
use torpor_engine::ring::Span;

use super::Seed;
use crate::alloc;
use crate::faults::Fault;
use crate::session::Owner;
use crate::world::{World, take_dropped};

impl Seed {
    /// One turn of the engine and its threads, which it may not survive.
    pub(super) fn run_engine(&mut self) {
        let odds = match (self.world.borrow().is_kept(), self.world.borrow().kernel.is_sending()) {
            (true, false) => CRASH_ODDS,
            (true, true) => SENDING_ODDS,
            (false, _) => LOSS_ODDS,
        };
        let fault = if self.world.borrow().is_kept() { Fault::Crash } else { Fault::BothKilled };
        if self.kills(Some((fault, odds)), Self::work) {
            self.world.borrow_mut().orders.is_hushed = true;
            return self.replace(Fault::CrashAgain, 5, DEATHS_MAX);
        }
        let is_kept = self.world.borrow().is_kept();
        if !self.stopped && is_kept && self.world.borrow_mut().fault(Fault::Upgrade, CRASH_ODDS) {
            self.replace(Fault::UpgradeFails, 2, DEATHS_MAX);
        }
    }

    /// True when the engine was killed over this work, or right after it. `chance`: the fault that
    /// may do it, one time in so many.
    fn kills(&mut self, chance: Option<(Fault, u32)>, work: impl FnOnce(&mut Self)) -> bool {
        let kills = chance.is_some_and(|(fault, odds)| {
            !self.stopped && self.world.borrow_mut().fault(fault, odds)
        });
        if kills {
            let world = &mut *self.world.borrow_mut();
            if world.random.one_in(2) {
                // Mail that it may read and never apply.
                let number = world.random.below(world.swarm.boxes) as usize;
                world.change(number);
            }
            let points = if world.kernel.is_sending() { SENDING_POINTS } else { KILL_POINTS };
            kill_in(1 + u64::from(world.random.below(points)));
        }
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        kill_in(0);
        match result {
            Err(why) if !why.is::<Killed>() => resume_unwind(why),
            _ => kills,
        }
    }

    /// Another engine in place of this one; `again`: it may be killed before it serves, and so many
    /// more after it.
    fn replace(&mut self, again: Fault, odds: u32, deaths: u32) {
        let _ = alloc::take();
        let Driver { core, ring, handoff, watcher, .. } = self.engine.take().expect("one is there");
        self.remember(&core);
        let (ring, mut handoff) = (ring.heir(), handoff.heir());
        drop(watcher);
        let memory = core.into_memory();
        let (knobs, now, is_held) = {
            let mut world = self.world.borrow_mut();
            take_dropped().into_iter().for_each(|file| world.close(file));
            world.engine_died();
            // The kernel takes its ring away, sooner or later.
            let stays = world.holds_estate && world.mono_ms.is_multiple_of(2);
            let stays_ms = if stays { RING_STAYS_MS } else { 0 };
            world.kernel.deaf_until_ms = world.mono_ms + stays_ms;
            let now = Now { mono_ms: world.mono_ms, wall_us: world.wall_us };
            (world.swarm.knobs.clone(), now, world.holds_estate)
        };
        if !is_held {
            handoff.lose_all();
            let limits = self.world.borrow().swarm.limits.clone();
            self.world.borrow_mut().lose_all();
            drop(ring);
            spare::keep(&limits, memory);
            self.engine = Some(self.new_engine(u64::from(self.ticks)));
            self.engine_mut().handoff.talks = handoff.talks;
            return;
        }
        let core = Core::revive(knobs, u64::from(self.ticks), memory, now).expect("ours");
        let inherited = self.world.borrow().kernel.inherited(core.ledger());
        let number = self.world.borrow().kernel.number;
        self.engine = Some(self.join(core, ring, handoff));
        let is_killed = self.kills((deaths > 0).then_some((again, odds)), |seed| {
            let engine = seed.engine_mut();
            for (completion, bytes) in &inherited {
                let bytes_at = Span { at: 0, count: bytes.len() as u32 };
                let mut completion = *completion;
                completion.bytes = bytes_at;
                engine.inherit(&completion, bytes);
            }
            engine.core.take_over(number);
            engine.begin().expect("the simulated ring never fails");
        });
        let _ = alloc::take();
        if is_killed {
            self.world.borrow_mut().orders.is_hushed = true;
            return self.replace(again, odds, deaths - 1);
        }
        self.world.borrow_mut().kernel.past.clear();
    }

    /// What events this engine's clients have met.
    pub(super) fn remember(&mut self, core: &Core) {
        let all = self.visits.iter_mut().flatten().zip(core.visits().iter().flatten());
        all.for_each(|(sum, more)| *sum += more);
    }
}

impl World {
    fn engine_died(&mut self) {
        self.tell(|| "the engine ENDS".to_string());
        self.orphan_watches();
        self.forget_orders();
        for session in self.sessions.iter_mut().filter(|session| session.owner == Owner::Engine) {
            (session.handed, session.got, session.overtaken) = (false, session.read, 0);
        }
    }

    /// And its estate with it; a new keeper begins with an engine that knows of nobody.
    fn lose_all(&mut self) {
        self.tell(|| "all is LOST".to_string());
        let is_excused = !self.is_kept();
        for session in self.sessions.iter_mut().filter(|session| session.owner == Owner::Engine) {
            if is_excused {
                (session.owner, session.lost) = (Owner::Nobody, true);
            }
        }
        self.kernel.forget_past();
        self.forget_watches();
        (self.kept_from_ms, self.holds_estate) = (None, true);
    }
}

/// Engines that are killed in a row before one serves. A script could kill hundreds, and learn
/// nothing from it.
const DEATHS_MAX: u32 = 6;
/// The longest that the ring of an engine that was killed stays.
const RING_STAYS_MS: u64 = 5_000;
/// A turn in which something happens has about so many.
const KILL_POINTS: u32 = 40;
/// Those before it is submitted.
const SENDING_POINTS: u32 = 4;
/// Turns to one that the engine does not survive.
const CRASH_ODDS: u32 = 400;
/// The same while something is to go to a client, which is rare.
const SENDING_ODDS: u32 = 30;
/// The same while there is no keeper.
const LOSS_ODDS: u32 = 100;
