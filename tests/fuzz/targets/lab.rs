//! The core with one worker and one client around it, and a ring that only keeps books: where each
//! descriptor sits, what is in flight, what was said to whom.
//!
//! Everything it is told it checks, and at the end nothing may be left: no descriptor in the lobby
//! or in a place, nothing in flight, no word in the cold store.

mod books;
mod says;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use torpor_engine::action::{Action, Actions};
use torpor_engine::core::{Core, Now};
use torpor_engine::image::Foreign;
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::mailboxes::Debounce;
use torpor_engine::memory::{Memory, spare};
use torpor_engine::ring::{Completion, Inbox, Passed, PassedKind};
use torpor_engine::token::{Kind, Token};
use torpor_engine::watch::WatchOrder;
use torpor_handoff::message::{Exited, Outcome, Reply, Wake};

/// See the module.
pub struct Lab {
    core: Core,
    inbox: Inbox,
    out: Actions,
    now: Now,
    lobby: BTreeMap<u32, PassedKind>,
    lobby_next: u32,
    /// Operations in flight at each place that holds a descriptor.
    places: BTreeMap<Place, Vec<Token>>,
    /// What the vault holds of an engine before this one.
    vault: BTreeSet<Place>,
    /// Operations in flight.
    pub flying: Vec<Token>,
    /// Items of the epoll set.
    items: Vec<Token>,
    /// Sends and cancels whose completion is still to come.
    owed: VecDeque<(Token, i32)>,
    adoptions: Vec<(u32, u32)>,
    /// What went to the handoff thread.
    pub wakes: Vec<Wake<()>>,
    replied: usize,
    /// Clients can come and go this often for each other.
    rounds: u32,
    /// What the worker and the client were told.
    pub said: Vec<u8>,
    pub told: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Conn(u32),
    Client(u32),
    Notify(u32),
}

thread_local! {
    /// Large and reused: what a step takes in and puts out.
    static SPARE: Cell<Option<(Inbox, Actions)>> = const { Cell::new(None) };
}

impl Lab {
    pub fn new() -> Self {
        let limits = Limits { slots_max: 2, ..limits() };
        let lab = Self::start(Core::with_memory(&limits, knobs(), 1, spare::memory(&limits)));
        Self { rounds: 4, ..lab }
    }

    /// Around a core that has room for more clients.
    pub fn start(core: Core) -> Self {
        let mut lab = Self::around(core);
        lab.core.start(&mut lab.out);
        lab.act();
        lab
    }

    /// An heir over this memory, to whom the vault gives any socket of the dead engine, and the
    /// completions that it had not applied; it takes everybody up.
    pub fn inherit(memory: Memory, completed: &[(Completion, &[u8])]) -> Result<Self, Foreign> {
        let mut lab = Self::around(Core::revive(knobs(), 1, memory, NOW)?);
        lab.vault = (0..SLOTS_MAX).map(Place::Client).chain((0..2).map(Place::Conn)).collect();
        for (done, bytes) in completed {
            lab.core.inherit(done, bytes, &mut lab.out);
            lab.out.clear();
        }
        lab.core.take_over(lab.core.ledger().ring.wrapping_add(1));
        while lab.core.resume_some(&mut lab.out) {
            lab.act();
            lab.out.clear();
        }
        lab.core.start(&mut lab.out);
        lab.act();
        lab.settle();
        Ok(lab)
    }

    fn around(core: Core) -> Self {
        let (inbox, mut out) = SPARE.take().unwrap_or_else(|| (Inbox::new(4), Actions::new()));
        out.clear();
        Self {
            core,
            inbox,
            out,
            now: NOW,
            lobby: BTreeMap::new(),
            lobby_next: 0,
            places: BTreeMap::new(),
            vault: BTreeSet::new(),
            flying: Vec::new(),
            items: Vec::new(),
            owed: VecDeque::new(),
            adoptions: Vec::new(),
            wakes: Vec::new(),
            replied: 0,
            rounds: 2 * SLOTS_MAX,
            said: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Everything that was asked for is done, until nothing more follows.
    pub fn settle(&mut self) {
        while self.complete_one(false) || self.adopt(false) {}
    }

    /// An honest worker gives its client, which idles on a mailbox.
    pub fn hibernate(&mut self) {
        self.hibernate_with(LINE);
    }

    /// The same with a line of its own.
    pub fn hibernate_with(&mut self, line: &[u8]) {
        let before = self.core.counters().asleep;
        self.connect();
        self.worker_says(VERSION, &[], false);
        self.worker_says(line, &[PassedKind::Tcp], false);
        self.settle();
        self.worker_says(b"\n", &[PassedKind::Inotify], false);
        self.settle();
        self.recv_ends(Kind::ConnRecv, 0);
        self.settle();
        let asleep = self.core.counters().asleep;
        assert_eq!(asleep, before + 1, "said: {}", self.said.escape_ascii());
    }

    pub fn hibernated(&self) -> u64 {
        self.core.counters().hibernated
    }

    /// Worker and client hang up, a woken client is taken; then nothing may be left but memory.
    pub fn end(mut self) -> Memory {
        for _ in 0..self.rounds {
            self.recv_ends(Kind::ConnRecv, 0);
            self.settle();
            self.stir();
            self.recv_ends(Kind::ClientRecv, 0);
            self.recv_ends(Kind::Notify, 1);
            self.settle();
            self.take_all(|_, _| {});
        }
        self.pass_ms(1000);
        let forever = [Kind::Accept, Kind::Watch, Kind::Doorbell, Kind::Items];
        assert!(self.flying.iter().all(|token| forever.contains(&token.kind())));
        assert_eq!((self.flying.len(), self.lobby.len(), self.places.len()), (4, 0, 0));
        let left = self.core.counters();
        assert_eq!((left.asleep, left.awake, left.in_flight, left.conns), (0, 0, 0, 0));
        assert_eq!((left.cold_blocks_used, left.mailboxes, left.notify_kept), (0, 0, 0));
        SPARE.set(Some((self.inbox, self.out)));
        self.core.into_memory()
    }

    /// The same; a new lab goes on in its memory.
    pub fn finish(self) {
        let limits = self.core.limits().clone();
        spare::keep(&limits, self.end());
    }

    /// Every client says DONE and is given to a worker, with the words that `see` is shown.
    pub fn wake_all(&mut self, mut see: impl FnMut(u32, &[u8])) {
        for _ in 0..self.rounds {
            self.recv_ends(Kind::ConnRecv, 0);
            self.settle();
            self.client_says(b"DONE\r\n");
            self.settle();
            self.take_all(&mut see);
            // Whoever has to go waits for a place among those who are told so.
            self.pass_ms(1000);
            self.settle();
        }
    }

    /// A worker takes every client that is handed over.
    fn take_all(&mut self, mut see: impl FnMut(u32, &[u8])) {
        while let Some(wake) = self.wakes.get_mut(self.replied) {
            let Wake { slot, generation, session, ref mut parcel, .. } = *wake;
            see(slot, parcel);
            let (outcome, parcel) = (Outcome::Taken, std::mem::take(parcel));
            self.replied += 1;
            self.inbox.replies.push(Reply { slot, generation, session, outcome, parcel });
            self.step();
            self.inbox.exited.push(Exited { slot, generation, session });
            self.step();
        }
    }

    /// What the engine leaves behind when it is killed now.
    pub fn into_memory(self) -> Memory {
        self.core.into_memory()
    }

    fn pass(&mut self, kind: PassedKind) -> Passed {
        self.lobby_next += 1;
        self.lobby.insert(self.lobby_next, kind);
        Passed { lobby: self.lobby_next, kind, dev_major: 0, dev_minor: 9, inode: INODE }
    }

    /// The latest of its kind.
    fn flying(&self, kind: Kind) -> Option<Token> {
        self.flying.iter().copied().rfind(|token| token.kind() == kind)
    }

    fn complete(&mut self, mut done: Completion, bytes: &[u8]) {
        if !done.more {
            let at = self.flying.iter().position(|token| *token == done.token);
            self.flying.swap_remove(at.expect("a completion of what is in flight"));
            self.places.values_mut().for_each(|held| held.retain(|token| *token != done.token));
        }
        done.bytes = self.inbox.keep(bytes);
        self.inbox.completions.push(done);
        self.step();
    }

    fn step(&mut self) {
        self.out.clear();
        self.core.step(&mut self.inbox, self.now, &mut self.out);
        self.inbox.clear();
        self.act();
    }

    fn act(&mut self) {
        let mut list = std::mem::take(&mut self.out.list);
        for action in list.drain(..) {
            match action {
                Action::Ring(op) => self.ring(op),
                Action::Wake(wake) => {
                    self.let_go(Place::Client(wake.slot));
                    self.wakes.push(wake);
                }
                Action::Watch(WatchOrder::Adopt { passed, slot, generation, .. }) => {
                    self.leave(passed);
                    self.adoptions.push((slot, generation));
                }
                Action::Watch(WatchOrder::Retire { slot }) => self.let_go(Place::Notify(slot)),
                Action::Watch(WatchOrder::Release { wd }) => {
                    assert!(WATCHED.contains(&wd));
                }
                Action::Report(_) | Action::Answer(_) => {}
                Action::Stopped => panic!("nobody has said so"),
            }
        }
        self.out.list = list;
    }
}

/// The watches of the honest worker's mailbox.
pub const WATCHED: [i32; 2] = [1, 2];
/// A change wakes in the step in which it is told.
fn knobs() -> Knobs {
    Knobs { debounce: Debounce::NONE, ..Knobs::default() }
}

/// The tag of its IDLE.
pub const TAG: &[u8] = b"a3";
pub const VERSION: &[u8] = b"VERSION\timap-hibernate\t1\t0\n";
/// Short, so that a fuzzer's lines reach it.
const LINE_BYTES_MAX: u32 = 1024;
const LINE: &[u8] = b"u1\tp: \tidle_notify_interval=0\tpeer_dev_major=0\tpeer_dev_minor=9\t\
    peer_ino=77\tsession=s1\ttag=a3\tidle-cmd\tnotify_fd\tstate=YmFzZQo=\n";
const INODE: u64 = 77;
/// Clients of a lab that is inherited, at most.
pub const SLOTS_MAX: u32 = 8;
const NOW: Now = Now { mono_ms: 1000, wall_us: 1_800_000_000_000_000 };

/// Small, so that everything is soon full.
pub fn limits() -> Limits {
    Limits {
        slots_max: SLOTS_MAX,
        conns_max: 2,
        line_bytes_max: LINE_BYTES_MAX,
        cold_blocks_max: 128,
        mailboxes_max: 2,
        handoffs_in_flight_max: 1,
        sends_in_flight_max: 2,
        dozers_max: 2,
    }
}
