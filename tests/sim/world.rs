//! One seed: a world of clients, mailboxes, workers and operators around the real driver.

use std::cell::RefCell;
use std::rc::Rc;

use torpor_engine::command::{Answer, Command};
use torpor_engine::core::Core;
use torpor_engine::drive::{Desk, Driver};
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::mailboxes::Debounce;
use torpor_engine::report::{Counters, Report};
use torpor_engine::ring::PassedKind;
use torpor_handoff::line::HIBERNATE_VERSION;

use crate::counting;
use crate::faults::{Fault, Faults};
use crate::handoff::SimHandoff;
use crate::kernel::SimRing;
use crate::net::{Client, Conn, Mailbox, Net, Notify, Owner, Parcel, Random, Shared, SimFd, Thing};
use crate::watcher::SimWatcher;

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
    let core = &world.driver.take().expect("an engine").core;
    world.remember_visits(core);
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
        let core = Core::new(&limits, knobs, seed | 1);
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
        for conn in 0..net.conns.len() {
            if !net.conns[conn].closed {
                hand_over(net, conn);
            }
        }
    }

    /// Clients, mailboxes and operators do what they like.
    fn misbehave(&mut self) {
        let net = &mut *self.net.borrow_mut();
        let client = net.random.below(net.clients.len() as u64) as usize;
        match net.random.below(40) {
            0..=3 => speak(net, client),
            4..=5 => {
                let mailbox = net.random.below(net.mailboxes.len() as u64) as usize;
                net.change(mailbox);
            }
            6 if net.strikes(Fault::HangUp, 60) => net.clients[client].eof = true,
            7 if net.strikes(Fault::Reset, 60) => net.clients[client].reset = true,
            8 if net.strikes(Fault::WindowClosed, 300) => net.clients[client].window = 0,
            9 if net.strikes(Fault::WindowNarrow, 300) => {
                net.clients[client].window = 1 + net.random.below(40) as usize;
            }
            10 if net.strikes(Fault::WatchOverflow, 200) => {
                // Something is lost by it, or it would be no overflow.
                let mailbox = net.random.below(net.mailboxes.len() as u64) as usize;
                net.change(mailbox);
                net.shared.clear();
                net.shared.push_back((-1, 0x4000));
            }
            11 if net.strikes(Fault::WatchIgnored, 200) => {
                if let Some(wds) = net.mailboxes[0].wds {
                    net.shared.push_back((wds[0], 0x8000));
                }
            }
            12 if net.strikes(Fault::Kick, 100) => {
                let user = format!("u{}", net.clients[client].user).into_bytes();
                let (named, now_ms) = (net.clients[client].user, net.now.mono_ms);
                for entry in &mut net.clients {
                    let ours = entry.owner == Owner::Engine || entry.conn.is_some();
                    entry.kicked |= entry.user == named && ours;
                    let dismissed = entry.user == named && entry.owner == Owner::Engine;
                    if dismissed {
                        entry.dismissed = Some(now_ms);
                    }
                }
                let user = user.into_boxed_slice();
                let (ticket, cursor, session) = (1, 0, None);
                net.commands.push_back(Command::Kick { ticket, cursor, user, session });
            }
            13 if net.strikes(Fault::Relisten, 100) => {
                net.commands.push_back(Command::Relisten { ticket: 2 });
            }
            18 if net.strikes(Fault::Reload, 100) => {
                let knobs = knobs(&mut net.random, net.faults.gives_up);
                net.commands.push_back(Command::Reload { ticket: 4, knobs });
            }
            14 if net.random.chance(200) => {
                net.commands.push_back(Command::Who { ticket: 3, cursor: 0, user: None });
            }
            15 if net.strikes(Fault::WallJump, 50) => {
                let jump_us = net.random.below(7_200_000_000);
                net.now.wall_us = net.now.wall_us + 3_600_000_000 - jump_us;
                // What changed just before a jump cannot be told from what did not.
                net.notifies.iter_mut().for_each(|notify| notify.readable = true);
                let wall_us = net.now.wall_us;
                net.mailboxes.iter_mut().for_each(|mailbox| mailbox.changed_us = wall_us);
            }
            16 if net.strikes(Fault::HostileLine, 200) => hostile(net),
            17 => net.clients[client].window = 20_000,
            _ => {}
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

    /// Everything owed is paid.
    fn check_calm(&self) {
        let net = self.net.borrow();
        for (index, client) in net.clients.iter().enumerate() {
            let gone = is_gone(client);
            assert!(client.owner != Owner::Engine || !gone, "client {index} is gone and kept");
            if gone || client.kicked {
                continue;
            }
            if client.owner == Owner::Engine {
                let unread = &client.sent[client.read..];
                let partial = b"DONE\r".starts_with(unread);
                assert!(partial, "client {index} waits: {:?}", unread.escape_ascii().to_string());
                let version = client.mailbox.map_or(0, |mailbox| net.mailboxes[mailbox].version);
                let seen = client.mailbox.map_or(0, |_| client.seen);
                let counters = &self.driver().desk.counters;
                assert_eq!(seen, version, "client {index} was never told, {counters:?}");
                assert!(client.rest.is_empty(), "client {index} waits for the rest of a line");
            }
        }
        let counters = &self.driver().desk.counters;
        let owned = net.clients.iter().filter(|client| client.owner == Owner::Engine).count();
        let queued = counters.queued_input + counters.queued_change;
        // Those just given are counted by their connections until these have closed.
        let known = counters.asleep + queued + counters.in_flight;
        assert!(known <= owned as u64 && owned as u64 <= known + counters.conns);
    }

    /// SIGTERM: BYE to all, nothing left.
    fn stop(&mut self) {
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
        let counters = &self.driver().desk.counters;
        assert_eq!(counters.cold_blocks_used, 0, "words of nobody are kept");
        assert_eq!(counters.mailboxes, 0, "a mailbox of nobody is watched");
        assert_eq!(self.driver().ring.in_flight(), 0, "something is in flight for nobody");
        let owned = self.net.borrow().clients.iter().any(|client| client.owner == Owner::Engine);
        assert!(!owned, "a client is left behind");
        let held = self.driver().ring.seated();
        assert_eq!(held, 0, "descriptors are left behind");
    }

    /// After every tick: descriptors add up, and nobody has two owners.
    fn check(&self) {
        let net = self.net.borrow();
        let on_the_way: usize =
            net.conns.iter().flat_map(|conn| &conn.segments).map(|segment| segment.1.len()).sum();
        let (ring, handoff) = (self.driver().ring.seated(), self.driver().handoff.held());
        let held = ring + handoff + self.driver().watcher.held() + on_the_way;
        assert_eq!(net.open.get(), held as i64, "a descriptor is lost or closed twice");
        for client in &net.clients {
            assert!(client.read <= client.pulled && client.pulled <= client.sent.len());
        }
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

fn is_gone(client: &Client) -> bool {
    client.eof || client.reset || client.owner == Owner::Nobody
}

/// A client with its worker; `index` bounds which of the users it belongs to.
pub fn new_client(net: &mut Net, index: usize) -> Client {
    let selected = net.random.chance(850);
    let mailbox = net.random.below(net.mailboxes.len() as u64) as usize;
    Client {
        sent: Vec::new(),
        pulled: 0,
        read: 0,
        eof: false,
        reset: false,
        window: 20_000,
        owner: Owner::Worker,
        busy_until_ms: net.now.mono_ms + net.random.below(3000),
        conn: None,
        mailbox: selected.then_some(mailbox),
        seen: 0,
        tag: Vec::new(),
        user: net.random.below(1 + index as u64) as usize,
        lives: 0,
        kicked: false,
        dismissed: None,
        handed: 0,
        byes: 0,
        damaged: false,
        shut: false,
        rest: Vec::new(),
        multiplex: net.random.chance(150),
        switch: 0,
        torn_ms: None,
        interval_secs: 1 + net.random.below(20),
        beat_ms: None,
        answered_in: 0,
        answered_out: 0,
    }
}

/// A worker has its client: reads it, and hibernates it when it is idle.
fn idle(net: &mut Net, client: usize) {
    let now_ms = net.now.mono_ms;
    let entry = &mut net.clients[client];
    (entry.pulled, entry.read) = (entry.sent.len(), entry.sent.len());
    if entry.eof || entry.reset {
        entry.owner = Owner::Nobody;
        return;
    }
    if now_ms < entry.busy_until_ms {
        return;
    }
    let conn = net.conns.len();
    let (mailbox, pluses_due) = (entry.mailbox, 1 + u32::from(entry.mailbox.is_some()));
    entry.conn = Some(conn);
    (entry.switch, entry.torn_ms) = (0, None);
    (entry.answered_in, entry.answered_out) = (0, 0);
    entry.tag = format!("t{}", net.random.below(1000)).into_bytes();
    // A worker swallows a change of the last half second: the engine has to look for it.
    if let Some(mailbox) = mailbox {
        if net.strikes(Fault::LateChange, 200) {
            net.change(mailbox);
        } else if now_ms - net.mailboxes[mailbox].changed_ms > 500 {
            net.clients[client].seen = net.mailboxes[mailbox].version;
        }
    }
    let notify = mailbox.map(|mailbox| {
        net.notifies.push(Notify { mailbox, readable: false });
        net.notifies.len() - 1
    });
    net.conns.push(Conn {
        client: Some(client),
        notify,
        stage: 0,
        segments: Default::default(),
        closed: false,
        server_closed: false,
        heard: Vec::new(),
        pluses: 0,
        pluses_due,
        since_ms: now_ms,
    });
    net.backlog.push_back(conn);
    net.say(|| format!("client {client} of mailbox {mailbox:?} is to hibernate"));
}

/// A worker's side of a hibernate connection goes on.
fn hand_over(net: &mut Net, conn: usize) {
    let Some(client) = net.conns[conn].client else {
        let late = net.now.mono_ms - net.conns[conn].since_ms > 3000;
        net.conns[conn].closed |= late || net.conns[conn].server_closed;
        return;
    };
    let given = net.clients[client].owner != Owner::Worker;
    if given {
        if net.random.chance(500) {
            net.clients[client].conn = None;
            net.conns[conn].closed = true;
        }
        return;
    }
    let entry = &net.conns[conn];
    let refused = entry.server_closed || entry.heard.windows(2).any(|pair| pair == b"\n-");
    let gives_up = net.now.mono_ms - entry.since_ms > 10_000;
    let (stage, silent) = (entry.stage, entry.heard.is_empty());
    let notify_due = entry.pluses == 1 && entry.pluses_due == 2;
    if refused || gives_up || net.strikes(Fault::WorkerHangsUp, 20) {
        net.conns[conn].closed = true;
        net.clients[client].conn = None;
        net.clients[client].busy_until_ms = net.now.mono_ms + 200 + net.random.below(2000);
        return;
    }
    match (stage, silent) {
        (0, _) => send_line(net, conn, client),
        (1, false) if notify_due => send_notify(net, conn),
        _ => {}
    }
}

fn send_line(net: &mut Net, conn: usize, client: usize) {
    let entry = &net.clients[client];
    let mut line = format!(
        "u{}\tprefix\tidle_notify_interval={}\tpeer_dev_major=0\tpeer_dev_minor=9\tpeer_ino={}\t\
         session=s{client}\trip=203.0.113.5\tuserdb_fields=a=b\ttag={}\tstats=none\tidle-cmd\t\
         state=YmFzZQo=\tinput_bytes_extra=26\toutput_bytes_extra=763",
        entry.user,
        entry.interval_secs,
        1000 + client,
        String::from_utf8_lossy(&entry.tag),
    );
    if entry.mailbox.is_some() {
        line.push_str("\tmailbox=INBOX\tnotify_fd");
    }
    if entry.multiplex {
        line.push_str("\tmultiplex_ostream");
    }
    line.push('\n');
    let fd = SimFd::new(Thing::Client(client), &net.open);
    let kind = if net.random.chance(300) { PassedKind::Unix } else { PassedKind::Tcp };
    let parcel = Parcel { fd, kind, inode: 1000 + client as u64 };
    let cut = 1 + net.random.below(line.len() as u64 - 1) as usize;
    let entry = &mut net.conns[conn];
    entry.stage = 1;
    entry.segments.push_back((HIBERNATE_VERSION.to_vec(), Vec::new()));
    entry.segments.push_back((line.as_bytes()[..cut].to_vec(), vec![parcel]));
    entry.segments.push_back((line.as_bytes()[cut..].to_vec(), Vec::new()));
}

fn send_notify(net: &mut Net, conn: usize) {
    let notify = net.conns[conn].notify.expect("a mailbox is selected");
    let fd = SimFd::new(Thing::Notify(notify), &net.open);
    let parcel = Parcel { fd, kind: PassedKind::Inotify, inode: 0 };
    let entry = &mut net.conns[conn];
    entry.stage = 2;
    entry.segments.push_back((b"\n".to_vec(), vec![parcel]));
}

/// A client says something.
fn speak(net: &mut Net, client: usize) {
    let tag = net.random.below(1000);
    let text = match net.random.below(10) {
        0..=2 => "DONE\r\n".to_string(),
        3..=5 => format!("DONE\r\nn{tag} IDLE\r\n"),
        6 => format!("done\nn{tag} NOOP\r\nx LOGOUT\r\n"),
        7 if net.strikes(Fault::Garbage, 500) => "\0\u{7f}FOO BAR\r\n".to_string(),
        8 if net.strikes(Fault::Flood, 300) => "A".repeat(1 + net.random.below(3000) as usize),
        9 if net.strikes(Fault::Split, 700) => {
            let whole = "DONE\r\n";
            whole[..1 + net.random.below(5) as usize].to_string()
        }
        _ => return,
    };
    net.say(|| format!("client {client} says {text:?}"));
    net.clients[client].sent.extend_from_slice(text.as_bytes());
}

/// A connection that is up to no good: its descriptors must be closed, and nobody disturbed.
fn hostile(net: &mut Net) {
    let version = String::from_utf8_lossy(HIBERNATE_VERSION).into_owned();
    let good = "u\tp\ttag=a\tidle-cmd";
    let lines = [
        format!("{good}\n"),
        "VERSION\timap\t1\t0\n".to_string(),
        version.clone(),
        format!("{version}{good}"),
        format!("{version}{good}\n"),
        format!("{version}{good}\tlport=0\n"),
        format!("{version}\n"),
        format!("{version}u\n"),
        format!("{version}u\tp\n"),
        format!("{version}{good}\tstate=*\n"),
        format!("{version}{good}\tpeer_ino=5\n"),
        format!("{version}{}\n", "x".repeat(5000)),
        "x".repeat(500),
        format!("{version}{good}\tnotify_fd\nx\n"),
        format!("{version}{good}\tnotify_fd\n\n"),
        format!("{version}{good}\n{good}\n"),
    ];
    let line = lines[net.random.below(lines.len() as u64) as usize].clone();
    let fds = net.random.below(4);
    let parcels = (0..fds).map(|_| {
        let kinds = [PassedKind::Other, PassedKind::Pollable, PassedKind::Inotify];
        let kind = kinds[net.random.below(3) as usize];
        Parcel { fd: SimFd::new(Thing::Junk, &net.open), kind, inode: 7 }
    });
    let parcels = parcels.collect();
    let conn = net.conns.len();
    net.conns.push(Conn {
        client: None,
        notify: None,
        stage: 9,
        segments: [(line.into_bytes(), parcels)].into(),
        closed: net.random.chance(300),
        server_closed: false,
        heard: Vec::new(),
        pluses: 0,
        pluses_due: u32::MAX,
        since_ms: net.now.mono_ms,
    });
    net.backlog.push_back(conn);
}

pub struct SimDesk {
    pub net: Shared,
    pub counters: Counters,
    pub stopped: bool,
}

impl Desk for SimDesk {
    fn report(&mut self, report: &Report, text: &[u8]) {
        counting::pause();
        self.net.borrow().say(|| {
            format!("{:?} {:?}", report.event, report.text.of(text).escape_ascii().to_string())
        });
    }

    fn answer(&mut self, answer: &Answer, _text: &[u8]) {
        counting::pause();
        self.net.borrow_mut().answers += 1;
        assert!(answer.ticket > 0);
    }

    fn counters(&mut self, counters: &Counters) {
        counting::pause();
        self.counters = *counters;
    }

    fn command(&mut self) -> Option<Command> {
        let command = self.net.borrow_mut().commands.pop_front();
        if let Some(command) = &command {
            self.net.borrow().say(|| format!("{command:?}"));
        }
        command
    }
}

const FAULTY_TICKS: u32 = 750;
const CALM_TICKS: u32 = 250;
const LIVE_TICKS: u32 = 1500;
