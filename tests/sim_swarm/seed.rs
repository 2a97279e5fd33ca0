//! One seed: a phase of faults, then calm, in which everything owed must be paid.

use std::cell::RefCell;
use std::rc::Rc;

use torpor_engine::core::{Core, Now};
use torpor_engine::drive::Driver;
use torpor_engine::planted::{Bug, plant};
use torpor_engine::state::{Event, State};

use crate::alloc;
use crate::desk::SimDesk;
use crate::faults::Fault;
use crate::mailbox::SimWatcher;
use crate::master::SimHandoff;
use crate::random::Random;
use crate::ring::SimRing;
use crate::world::{Shared, World};

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
    engine: Engine,
    ticks: u32,
    stopped: bool,
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
    while seed.ticks < SCRIPT_TICKS_MAX && seed.world.borrow().random.is_scripted() {
        seed.tick();
    }
    seed.world.borrow_mut().random.end_script();
    seed.calm_down();
    seed.ran()
}

/// A world that nothing has happened in.
fn begin(random: Random, jitter: u64, trace: bool) -> Seed {
    let _ = alloc::take();
    let world = Rc::new(RefCell::new(World::new(random, trace)));
    world.borrow_mut().orders.late_change_ms = u64::MAX;
    world.borrow_mut().note_waits();
    let (limits, knobs) = {
        let world = world.borrow();
        (world.swarm.limits.clone(), world.swarm.knobs.clone())
    };
    let core = Core::new(&limits, knobs, jitter);
    let (ring, handoff) = (SimRing::new(&world), SimHandoff::new(&world));
    let (watcher, desk) = (SimWatcher::new(&world), SimDesk(world.clone()));
    let engine = Driver::new(core, ring, handoff, watcher, desk).expect("nothing can fail");
    Seed { world, engine, ticks: 0, stopped: false }
}

impl Seed {
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

    fn ran(&self) -> Ran {
        let world = self.world.borrow();
        let lives = world.clients.iter().map(|client| client.lives).sum();
        let (fired, visits) = (world.fired, *self.engine.core.visits());
        Ran { fired, visits, ticks: self.ticks, lives }
    }

    /// Nothing goes wrong any more: everything owed is paid, and everybody comes to an end.
    fn calm_down(&mut self) {
        self.world.borrow_mut().calm = true;
        self.settle("after the faults", |world| world.debt());
        self.world.borrow_mut().close_lives();
        self.settle("at the end", |world| world.unfinished());
        let stops = {
            let world = self.world.borrow();
            world.swarm.enabled & Fault::Stop.bit() != 0
        };
        if stops {
            self.stop();
        } else {
            self.settle("at rest", |world| world.unfinished().or_else(|| world.not_at_rest()));
            // A mailbox that nobody sleeps on any more may have its window open still.
            let end = self.ticks + CALM_TICKS_MAX;
            while self.engine.core.counters().mailboxes > 0 && self.ticks < end {
                self.tick();
            }
        }
        self.check_empty();
    }

    /// Ticks until nothing is missing.
    fn settle(&mut self, when: &str, missing: impl Fn(&World) -> Option<String>) {
        let begin_ms = self.world.borrow().mono_ms;
        for round in 0_u32.. {
            self.tick();
            if round % 4 > 0 {
                continue;
            }
            let idle = self.engine.handoff.is_idle() && self.engine.watcher.is_idle();
            let world = self.world.borrow();
            let what = match missing(&world) {
                Some(what) => what,
                None if idle => return,
                None => "work is left over".to_string(),
            };
            let waited_ms = world.mono_ms - begin_ms;
            assert!(waited_ms < CALM_MS_MAX && round < CALM_TICKS_MAX, "{when}: {what}");
        }
    }

    /// Everybody falls asleep again, and then the engine is told to end.
    fn stop(&mut self) {
        {
            let mut world = self.world.borrow_mut();
            (world.calm, world.closing) = (self.ticks.is_multiple_of(2), false);
            for client in 0..world.clients.len() {
                world.clients[client].sated = false;
                let pause_ms = world.random.ms(0, 500);
                world.clients[client].step_ms = world.mono_ms + pause_ms;
            }
        }
        for _ in 0..150 {
            self.tick();
        }
        {
            let mut world = self.world.borrow_mut();
            world.calm = true;
            world.order_stop();
        }
        let begin_ms = self.world.borrow().mono_ms;
        let begin = self.ticks;
        while !self.stopped {
            self.tick();
            let waited_ms = self.world.borrow().mono_ms - begin_ms;
            let late = waited_ms > CALM_MS_MAX || self.ticks - begin > CALM_TICKS_MAX;
            let counters = self.engine.core.counters();
            assert!(!late, "[14] the engine does not end: {counters:?}");
        }
        // The listening socket goes with the process.
        while let Some(hand) = {
            let mut world = self.world.borrow_mut();
            world.kernel.backlog.pop_front()
        } {
            self.world.borrow_mut().close(crate::world::File::Hand(hand));
        }
        // Workers and watcher may still take their time to let go.
        let end = self.ticks + CALM_TICKS_MAX;
        let least = self.ticks + 50;
        while self.ticks < least || (self.ticks < end && self.is_unrestful()) {
            self.tick();
        }
    }

    fn is_unrestful(&self) -> bool {
        !self.engine.watcher.is_idle() || self.world.borrow().not_at_rest().is_some()
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
            if self.ticks.is_multiple_of(64) && world.calm && !world.stopping {
                world.check_overdue();
            }
        }
        self.engine.handoff.run();
        self.engine.watcher.run();
        if self.is_woken() {
            self.turn();
        }
    }

    fn is_woken(&mut self) -> bool {
        let mut world = self.world.borrow_mut();
        world.submit_all();
        let due = self.engine.core.next_deadline_ms();
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
        let ended = self.engine.turn(Some(0), clock).expect("the ring never fails");
        assert_eq!(alloc::take(), 0, "[12] a step allocates");
        self.stopped = ended;
        self.engine.handoff.check_awake(self.engine.core.counters().awake);
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
            let core_ms = self.engine.core.next_deadline_ms();
            let others = [core_ms, self.engine.handoff.next_ms(), self.engine.watcher.next_ms()];
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

    /// After the end: nothing is left anywhere.
    fn check_empty(&mut self) {
        let held = self.engine.ring.held();
        assert_eq!(held, [0; 4], "[8] lobby, connections, clients, notify descriptors");
        let world = self.world.borrow();
        assert_eq!(world.kernel.buffers, world.kernel.buffers_max, "[7] a buffer is missing");
        assert_eq!(world.watches(), 0, "[8] watches that nobody needs");
        assert_eq!(world.odd_refs, 0, "[8] an odd descriptor is still open");
        let notifies = world.notifies.iter().filter(|notify| notify.live).count();
        assert_eq!(notifies, 0, "[8] notify descriptors are still open");
        assert!(world.orders.are_answered(), "an order was never answered");
        let orders = &world.orders;
        assert_eq!(orders.hibernated, orders.ended, "[8] who slept has an end");
        let counters = self.engine.core.counters();
        let left = [
            counters.asleep,
            counters.queued_input,
            counters.queued_change,
            counters.in_flight,
            counters.conns,
            counters.mailboxes,
            counters.notify_kept,
            counters.cold_blocks_used,
        ];
        assert_eq!(left, [0; 8], "[8] asleep, queued 2, in flight, conns, boxes, kept, blocks");
    }
}

impl World {
    /// From now on each client wants one whole life at least, and then no more.
    fn close_lives(&mut self) {
        self.closing = true;
        for client in 0..self.clients.len() {
            let entry = &mut self.clients[client];
            let awake = entry.session.is_some_and(|index| {
                self.sessions[index as usize].owner == crate::session::Owner::Worker
            });
            entry.sated = entry.lives > 0 && (awake || entry.session.is_none());
            entry.step_ms = entry.step_ms.min(self.mono_ms + 500);
            entry.act_ms = entry.act_ms.min(self.mono_ms + 500);
        }
    }

    /// A client without a whole life, or still asleep.
    fn unfinished(&self) -> Option<String> {
        for (number, client) in self.clients.iter().enumerate() {
            if client.lives == 0 {
                return Some(format!("[4] client {number} has not come to an end of its life"));
            }
            if let Some(index) = client.session {
                let session = &self.sessions[index as usize];
                if session.owner == crate::session::Owner::Engine {
                    return Some(format!("[4] s{} has said DONE and sleeps on", session.serial));
                }
            }
        }
        self.debt()
    }

    fn not_at_rest(&self) -> Option<String> {
        let live = self.hands.iter().filter(|hand| hand.live).count();
        (live > 0).then(|| format!("[8] {live} hibernate connections are still open"))
    }

    /// When somebody next does something.
    fn next_ms(&self) -> u64 {
        let clients = self.clients.iter().map(|client| client.act_ms.min(client.step_ms));
        let hands = self.hands.iter().filter(|hand| hand.live).map(|hand| hand.due_ms());
        clients.chain(hands).min().unwrap_or(u64::MAX)
    }
}

const FAULTY_TICKS: u32 = 800;
/// Ticks of a script's faults: what a thousand bytes are spent in.
const SCRIPT_TICKS_MAX: u32 = 150;
const TICKS_MIN: u32 = 1000;
/// Longer than any back-off, age limit and time-out together.
const CALM_MS_MAX: u64 = 600_000;
const CALM_TICKS_MAX: u32 = 60_000;
