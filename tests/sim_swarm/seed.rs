//! One seed: a phase of faults, then calm, in which everything owed must be paid.

mod calm;
mod crash;

use std::cell::RefCell;
use std::rc::Rc;

use torpor_engine::core::{Core, Now};
use torpor_engine::drive::Driver;
use torpor_engine::memory::spare;
use torpor_engine::planted::{Bug, plant};
use torpor_engine::state::{Event, State};

use crate::alloc;
use crate::desk::SimDesk;
use crate::faults::Fault;
use crate::mailbox::SimWatcher;
use crate::master::SimHandoff;
use crate::random::Random;
use crate::ring::SimRing;
use crate::world::{Shared, World, take_dropped};

/// What a seed came to.
#[derive(Default)]
pub struct Ran {
    pub fired: u128,
    pub visits: [[u32; Event::ALL.len()]; State::ALL.len()],
    pub ticks: u32,
    pub lives: u32,
}

type Engine = Driver<SimRing, SimHandoff, SimWatcher, SimDesk>;

struct Seed {
    world: Shared,
    /// None while one is replaced by another.
    engine: Option<Engine>,
    ticks: u32,
    stopped: bool,
    is_script: bool,
    /// Of the engines before this one.
    visits: [[u32; Event::ALL.len()]; State::ALL.len()],
}

/// Runs a seed, with a planted bug if one is named. Panics when something does not hold.
pub fn run(seed: u64, bug: Option<Bug>, trace: bool) -> Ran {
    plant(bug);
    let mut seed = begin(Random::new(seed), seed, trace);
    seed.live();
    seed.ran()
}

/// Runs a script: its bytes are drawn instead of chance. The faults last as long as it does, or
/// until a bound, so that many scripts can be run.
pub fn play(script: &[u8], trace: bool) -> Ran {
    plant(None);
    let mut seed = begin(Random::scripted(script), 0, trace);
    seed.is_script = true;
    while seed.ticks < SCRIPT_TICKS_MAX && seed.world.borrow().random.is_scripted() {
        seed.tick();
    }
    seed.world.borrow_mut().random.end_script();
    seed.calm_down();
    seed.ran()
}

/// A world that nothing has happened in.
fn begin(random: Random, jitter: u64, trace: bool) -> Seed {
    let _ = (alloc::take(), take_dropped());
    let world = Rc::new(RefCell::new(World::new(random, trace)));
    world.borrow_mut().orders.late_change_ms = u64::MAX;
    world.borrow_mut().note_waits();
    let (ticks, stopped, is_script, visits) = (0, false, false, Default::default());
    let mut seed = Seed { world, engine: None, ticks, stopped, is_script, visits };
    seed.engine = Some(seed.new_engine(jitter));
    seed
}

impl Seed {
    /// An engine that knows of nobody.
    fn new_engine(&self, jitter: u64) -> Engine {
        let (limits, knobs) = {
            let world = self.world.borrow();
            (world.swarm.limits.clone(), world.swarm.knobs.clone())
        };
        let core = Core::with_memory(&limits, knobs, jitter, spare::memory(&limits));
        let (ring, handoff) = (SimRing::new(&self.world), SimHandoff::new(&self.world));
        let mut engine = self.join(core, ring, handoff);
        engine.begin().expect("nothing can fail");
        engine
    }

    fn join(&self, core: Core, ring: SimRing, handoff: SimHandoff) -> Engine {
        let (watcher, desk) = (SimWatcher::new(&self.world), SimDesk(self.world.clone()));
        Driver::join(core, ring, handoff, watcher, desk)
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("one is there")
    }

    fn engine_mut(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("one is there")
    }

    fn live(&mut self) {
        for _ in 0..FAULTY_TICKS {
            self.tick();
        }
        self.calm_down();
        while self.ticks < TICKS_MIN && !self.stopped {
            self.tick();
        }
        self.check_empty();
    }

    /// Its memory is for the next.
    fn ran(mut self) -> Ran {
        let world = self.world.borrow();
        let lives = world.clients.iter().map(|client| client.lives).sum();
        let (fired, ticks) = (world.fired, self.ticks);
        drop(world);
        let engine = self.engine.take().expect("one is there");
        self.remember(&engine.core);
        let limits = engine.core.limits().clone();
        spare::keep(&limits, engine.core.into_memory());
        Ran { fired, visits: self.visits, ticks, lives }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.pass_time();
        {
            let mut world = self.world.borrow_mut();
            world.run_clients();
            world.run_hands();
            world.run_boxes();
            world.run_orders();
            world.run_keeper();
            if self.ticks.is_multiple_of(64) && world.calm && !world.stopping {
                world.check_overdue();
            }
        }
        self.run_engine();
    }

    fn work(&mut self) {
        self.engine_mut().handoff.run();
        self.engine_mut().watcher.run();
        if self.is_woken() {
            self.turn();
        }
    }

    fn is_woken(&mut self) -> bool {
        let mut world = self.world.borrow_mut();
        world.submit_all();
        let due = self.engine.as_ref().expect("one is there").core.next_deadline_ms();
        let spurious = world.random.one_in(64);
        !self.stopped
            && (world.kernel.has_news() || due.is_some_and(|at| at <= world.mono_ms) || spurious)
    }

    fn turn(&mut self) {
        let now = {
            let world = self.world.borrow();
            Now { mono_ms: world.mono_ms, wall_us: world.wall_us }
        };
        let clock = || {
            alloc::resume();
            now
        };
        let ended = self.engine_mut().turn(Some(0), clock).expect("the ring never fails");
        assert_eq!(alloc::take(), 0, "[12] a step allocates");
        self.stopped = ended;
        let engine = self.engine();
        engine.handoff.check_awake(engine.core.counters().awake);
        let world = self.world.borrow();
        let kernel = &world.kernel;
        assert!(kernel.buffers <= kernel.buffers_max, "[7] a buffer is given back twice");
    }

    /// A short pause in the thick of it; in the calm, straight to the next event.
    fn pass_time(&mut self) {
        let mut world = self.world.borrow_mut();
        let pace_ms = world.swarm.pace_ms;
        let mut pause_ms = world.random.ms(0, pace_ms);
        if world.fault(Fault::Stall, 500) {
            pause_ms = world.random.ms(500, 3000);
        }
        if world.calm && !world.kernel.has_news() {
            let engine = self.engine();
            let core_ms = engine.core.next_deadline_ms();
            let others = [core_ms, engine.handoff.next_ms(), engine.watcher.next_ms()];
            let next_ms = others.into_iter().flatten().min().unwrap_or(u64::MAX);
            let next_ms = next_ms.min(world.next_ms());
            pause_ms = next_ms.saturating_sub(world.mono_ms).clamp(1, 1000);
        }
        world.late_ms = world.late_ms.max(pause_ms);
        world.mono_ms += pause_ms;
        world.wall_us += pause_ms * 1000;
        if world.fault(Fault::ClockJump, 400) {
            let jump_us = world.random.ms(1, 100_000) * 1000;
            let back = world.random.one_in(2);
            world.wall_us = if back { world.wall_us - jump_us } else { world.wall_us + jump_us };
            world.jumped_ms = world.mono_ms;
        }
    }
}

const FAULTY_TICKS: u32 = 800;
/// Ticks of a script's faults: what a thousand bytes are spent in.
const SCRIPT_TICKS_MAX: u32 = 150;
const TICKS_MIN: u32 = 1000;
