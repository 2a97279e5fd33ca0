//! One seed: a world of clients, mailboxes, workers and operators around the real driver.

mod checks;
mod desk;
mod mischief;
mod people;

use std::cell::RefCell;
use std::rc::Rc;

use torpor_engine::command::Command;
use torpor_engine::core::Core;
use torpor_engine::drive::Driver;
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::mailboxes::Debounce;
use torpor_engine::memory::spare;
use torpor_engine::report::Counters;

use crate::counting;
use crate::faults::{Fault, Faults};
use crate::handoff::SimHandoff;
use crate::kernel::SimRing;
use crate::net::{Conn, Mailbox, Net, Owner, Random, Shared};
use crate::watcher::SimWatcher;

pub use desk::SimDesk;
pub use people::new_client;
use people::{hand_over, idle, is_gone};

/// What a seed has shown.
pub struct Findings {
    pub struck: [u32; Fault::ALL.len()],
    pub visits: [[u32; 18]; 8],
    pub lives: u32,
    pub ticks: u32,
}

/// The simulated world with its engine.
pub struct World {
    pub net: Shared,
    pub driver: Option<Engine>,
    pub ticks: u32,
    knobs: Knobs,
    visits: [[u32; 18]; 8],
}

type Engine = Driver<SimRing, SimHandoff, SimWatcher, SimDesk>;

/// Runs one seed; panics at the first thing that is not as it must be.
pub fn run(seed: u64, trace: bool) -> Findings {
    let mut world = World::new(seed, trace);
    for _ in 0..FAULTY_TICKS {
        world.misbehave();
        world.tick();
    }
    world.net.borrow_mut().faults.calm();
    world.calm_down();
    world.check_calm();
    world.let_all_live();
    world.stop();
    counting::pause();
    assert_eq!(counting::take(), 0, "the core allocated");
    let net = world.net.borrow();
    let lives = net.clients.iter().map(|client| client.lives).sum();
    let (struck, ticks) = (net.faults.struck, world.ticks);
    drop(net);
    let core = world.driver.take().expect("an engine").core;
    world.remember_visits(&core);
    spare::keep(&core.limits().clone(), core.into_memory());
    Findings { struck, visits: world.visits, lives, ticks }
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let mut on = random.next() | random.next() << 40;
        let gives_up = random.chance(100);
        // Each fault that ends sessions strikes in half of the half: the others need survivors.
        if random.chance(500) {
            on &= !(1 << Fault::WorkerSilent as usize);
        }
        let limits = Limits {
            slots_max: 1 + random.below(16) as u32,
            conns_max: 1 + random.below(6) as u32,
            line_bytes_max: 2048,
            cold_blocks_max: 64 + random.below(400) as u32,
            mailboxes_max: 1 + random.below(6) as u32,
            handoffs_in_flight_max: 1 + random.below(4) as u32,
            sends_in_flight_max: 1 + random.below(4) as u32,
            dozers_max: random.below(16) as u32,
        };
        let knobs = knobs(&mut random, gives_up);
        let own_knobs = knobs.clone();
        let clients = 1 + random.below(12);
        let mut net = Net::new(random, Faults::new(on, gives_up), trace);
        let mailboxes = 1 + net.random.below(clients);
        for _ in 0..mailboxes {
            net.mailboxes.push(Mailbox { version: 0, changed_ms: 0, changed_us: 0, wds: None });
        }
        for index in 0..clients as usize {
            let client = new_client(&mut net, index);
            net.clients.push(client);
        }
        let net: Shared = Rc::new(RefCell::new(net));
        let ring = SimRing::new(net.clone(), limits.slots_max, limits.conns_max);
        let core = Core::with_memory(&limits, knobs, seed | 1, spare::memory(&limits));
        let (handoff, watcher) = (SimHandoff::new(net.clone()), SimWatcher::new(net.clone()));
        let desk = SimDesk { net: net.clone(), counters: Counters::default(), stopped: false };
        let driver = Driver::new(core, ring, handoff, watcher, desk).expect("it starts");
        Self { net, driver: Some(driver), ticks: 0, knobs: own_knobs, visits: Default::default() }
    }

    fn driver(&self) -> &Engine {
        self.driver.as_ref().expect("an engine")
    }

    pub fn driver_mut(&mut self) -> &mut Engine {
        self.driver.as_mut().expect("an engine")
    }

    /// What an engine that begins now is configured with.
    pub fn knobs(&self) -> Knobs {
        self.knobs.clone()
    }

    pub fn remember_visits(&mut self, core: &Core) {
        let all = self.visits.iter_mut().flatten().zip(core.visits().iter().flatten());
        all.for_each(|(sum, more)| *sum += more);
    }

    /// One turn of the engine, and what goes on beside it.
    fn tick(&mut self) {
        self.ticks += 1;
        {
            let net = &mut *self.net.borrow_mut();
            let step_ms = 20 + net.random.below(80);
            net.now.mono_ms += step_ms;
            net.now.wall_us += step_ms * 1000;
        }
        self.workers();
        self.driver_mut().handoff.tick();
        self.driver_mut().watcher.tick();
        let now = self.net.borrow().now;
        let clock = || {
            counting::start();
            now
        };
        let killed = self.kills(Fault::Crash, 8, |world| {
            let driver = world.driver_mut();
            let stopped = driver.turn(Some(0), clock).expect("the simulated ring never fails");
            driver.desk.stopped |= stopped;
        });
        if killed {
            self.crash();
        }
        self.check();
    }

    /// Workers and their hibernate connections go on.
    fn workers(&mut self) {
        let net = &mut *self.net.borrow_mut();
        for client in 0..net.clients.len() {
            if net.clients[client].owner == Owner::Worker && net.clients[client].conn.is_none() {
                idle(net, client);
            }
        }
        while net.conns.get(net.conns_over).is_some_and(Conn::is_over) {
            net.conns_over += 1;
        }
        for conn in net.conns_over..net.conns.len() {
            if !net.conns[conn].closed {
                hand_over(net, conn);
            }
        }
    }

    /// No more faults: everybody drains.
    fn calm_down(&mut self) {
        {
            let net = &mut *self.net.borrow_mut();
            let knobs = Knobs { workers_max: 64, ..knobs(&mut net.random, net.faults.gives_up) };
            net.commands.push_back(Command::Reload { ticket: 4, knobs });
        }
        for _ in 0..CALM_TICKS {
            for client in &mut self.net.borrow_mut().clients {
                client.window = 20_000;
            }
            self.tick();
        }
    }

    /// Whoever has not lived yet gets the chance: the others wake and stay awake.
    fn let_all_live(&mut self) {
        for tick in 0..LIVE_TICKS {
            {
                let net = &mut *self.net.borrow_mut();
                if net.clients.iter().all(|client| client.lives > 0 || is_gone(client)) {
                    return;
                }
                let now_ms = net.now.mono_ms;
                for client in &mut net.clients {
                    client.window = 20_000;
                    if client.owner == Owner::Worker && client.lives > 0 {
                        client.busy_until_ms = now_ms + 10_000;
                    } else if client.owner == Owner::Engine && tick % 20 == 0 {
                        client.sent.extend_from_slice(b"DONE\r\n");
                    }
                }
            }
            self.tick();
        }
        let net = self.net.borrow();
        for (index, client) in net.clients.iter().enumerate() {
            assert!(client.lives > 0 || is_gone(client), "client {index} never lived");
        }
    }

    /// Mailboxes that nobody sleeps on change: an engine hears of watches that it knows nothing of.
    fn stir_strays(&mut self) -> Vec<usize> {
        let net = &mut *self.net.borrow_mut();
        let mut all: Vec<usize> = (0..net.mailboxes.len()).collect();
        let sleepers = net.clients.iter().filter(|client| client.owner == Owner::Engine);
        let slept_on: Vec<Option<usize>> = sleepers.map(|client| client.mailbox).collect();
        all.retain(|mailbox| !slept_on.contains(&Some(*mailbox)));
        all.iter().for_each(|mailbox| net.change(*mailbox));
        all
    }

    /// SIGTERM: BYE to all, nothing left.
    fn stop(&mut self) {
        let stirred = self.stir_strays();
        (0..20).for_each(|_| self.tick());
        {
            let net = &mut *self.net.borrow_mut();
            net.stopping = true;
            net.commands.push_back(Command::Stop { ticket: 9 });
        }
        for _ in 0..200 {
            self.tick();
            if self.driver().desk.stopped {
                break;
            }
        }
        assert!(self.driver().desk.stopped, "the engine does not end");
        self.net.borrow_mut().now.mono_ms += 10_000;
        self.driver_mut().watcher.tick();
        let is_watched = |mailbox: &usize| self.net.borrow().mailboxes[*mailbox].wds.is_some();
        assert!(!stirred.iter().any(is_watched), "a watch of nobody is kept");
        let counters = &self.driver().desk.counters;
        assert_eq!(counters.cold_blocks_used, 0, "words of nobody are kept");
        assert_eq!(counters.mailboxes, 0, "a mailbox of nobody is watched");
        assert_eq!(self.driver().ring.in_flight(), 0, "something is in flight for nobody");
        let owned = self.net.borrow().clients.iter().any(|client| client.owner == Owner::Engine);
        assert!(!owned, "a client is left behind");
        let held = self.driver().ring.seated();
        assert_eq!(held, 0, "descriptors are left behind");
    }
}

fn knobs(random: &mut Random, gives_up: bool) -> Knobs {
    Knobs {
        workers_max: 1 + random.below(12) as u32,
        doze_ms: [0, 50, 500, 30_000][random.below(4) as usize],
        awake_age_ms_max: 2000,
        debounce: Debounce {
            window_ms: [0, 1, 30, 300][random.below(4) as usize],
            delay_ms_max: 1000,
        },
        input_wait_ms_max: if gives_up { 4000 } else { 0 },
        change_wait_ms_max: if gives_up { 6000 } else { 0 },
        conn_timeout_ms: 5000,
        retry_ms_max: 1000,
        ..Knobs::default()
    }
}

const FAULTY_TICKS: u32 = 750;
const CALM_TICKS: u32 = 250;
const LIVE_TICKS: u32 = 1500;
