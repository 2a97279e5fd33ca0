//! The core with one worker and one client around it, and a ring that only keeps books: where each
//! descriptor sits, what is in flight, what was said to whom.
//!
//! Everything it is told it checks, and at the end nothing may be left: no descriptor in the lobby
//! or in a place, nothing in flight, no word in the cold store.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use torpor_engine::action::{Action, Actions};
use torpor_engine::core::{Core, Now};
use torpor_engine::image::Foreign;
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::mailboxes::Debounce;
use torpor_engine::memory::Memory;
use torpor_engine::ring::{Completion, Inbox, Op, PASSED_MAX, Passed, PassedKind, Peer};
use torpor_engine::token::{Kind, Token};
use torpor_engine::watch::{Adopted, Adoption, WATCHES_PER_NOTIFY_MAX, WatchOrder};
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
        let lab = Self::start(Core::new(&limits, knobs(), 1));
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

    /// A worker connects.
    pub fn connect(&mut self) {
        let mut done = Completion::plain(self.flying(Kind::Accept).expect("armed"), 9, true);
        done.passed[0] = Some(self.pass(PassedKind::Unix));
        done.peer = Peer { pid: 1, uid: 2, gid: 3 };
        self.complete(done, &[]);
        assert!(self.flying(Kind::ConnRecv).is_some(), "a worker is heard");
    }

    /// Bytes of the worker, with descriptors on them; `lost`: some did not make it.
    pub fn worker_says(&mut self, bytes: &[u8], kinds: &[PassedKind], lost: bool) {
        let Some(token) = self.flying(Kind::ConnRecv) else { return };
        assert!(kinds.len() <= PASSED_MAX && !bytes.is_empty());
        let mut done = Completion::plain(token, bytes.len() as i32, false);
        for (place, kind) in done.passed.iter_mut().zip(kinds) {
            *place = Some(self.pass(*kind));
        }
        done.passed_lost = lost;
        self.complete(done, bytes);
    }

    /// The recv on the worker's connection, or on the client's, ends with this result.
    pub fn recv_ends(&mut self, kind: Kind, result: i32) {
        if let Some(token) = self.flying(kind) {
            self.complete(Completion::plain(token, result, false), &[]);
        }
    }

    /// Bytes of the client; false when nobody listens, and they stay in the socket.
    pub fn client_says(&mut self, bytes: &[u8]) -> bool {
        self.stir();
        let Some(token) = self.flying(Kind::ClientRecv) else { return false };
        self.complete(Completion::plain(token, bytes.len() as i32, false), bytes);
        true
    }

    /// The same of the client in this slot.
    pub fn client_in_says(&mut self, slot: u32, bytes: &[u8]) {
        self.items.sort_by_key(|item| item.index() != slot);
        if self.items.first().is_some_and(|item| item.index() == slot) {
            self.stir();
        }
        let is_its = |token: &&Token| token.kind() == Kind::ClientRecv && token.index() == slot;
        let token = *self.flying.iter().find(is_its).expect("it is heard");
        self.complete(Completion::plain(token, bytes.len() as i32, false), bytes);
    }

    /// Who sleeps in the epoll set is told to have stirred, and so gets a recv.
    fn stir(&mut self) {
        if let Some(item) = self.items.first() {
            let bytes = item.bits().to_ne_bytes();
            let token = self.flying(Kind::Items).expect("looked at for ever");
            self.complete(Completion::plain(token, bytes.len() as i32, false), &bytes);
        }
    }

    /// The shared inotify instance is read.
    pub fn watch(&mut self, bytes: &[u8]) {
        let token = self.flying(Kind::Watch).expect("armed for ever");
        self.complete(Completion::plain(token, bytes.len() as i32, true), bytes);
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_us += ms * 1000;
        self.step();
    }

    /// The oldest send or cancel completes; `false` when there is none.
    pub fn complete_one(&mut self, failing: bool) -> bool {
        let Some((token, result)) = self.owed.pop_front() else { return false };
        if !self.flying.contains(&token) {
            // It ended by itself before its cancel came.
            return true;
        }
        let result = if failing && result > 0 { -libc::EPIPE } else { result };
        self.complete(Completion::plain(token, result, false), &[]);
        true
    }

    /// The watcher replies; `false` when it was asked for nothing.
    pub fn adopt(&mut self, keep: bool) -> bool {
        let Some((slot, generation)) = self.adoptions.pop() else { return false };
        let outcome = if keep {
            assert!(self.places.insert(Place::Notify(slot), Vec::new()).is_none());
            Adoption::Kept
        } else {
            let mut wds = [-1; WATCHES_PER_NOTIFY_MAX];
            wds[..WATCHED.len()].copy_from_slice(&WATCHED);
            Adoption::Shared { wds, changed: false }
        };
        self.inbox.adopted.push(Adopted { slot, generation, outcome });
        self.step();
        true
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

    fn ring(&mut self, op: Op) {
        match op {
            Op::Accept { token } | Op::ReadWatch { token } => self.fly(None, token),
            Op::ReadDoorbell { token } | Op::ReadItems { token } => self.fly(None, token),
            Op::AddItem { token, .. } => self.items.push(token),
            Op::DeleteItem { slot } => self.items.retain(|item| item.index() != slot),
            Op::SeatConn { passed, conn } => self.seat(passed, Place::Conn(conn)),
            Op::SeatClient { passed, slot } => self.seat(passed, Place::Client(slot)),
            Op::HoldConn { .. } => {}
            Op::ReleaseClient { slot } => drop(self.vault.remove(&Place::Client(slot))),
            Op::ReleaseConn { conn } => drop(self.vault.remove(&Place::Conn(conn))),
            Op::ClaimConn { conn } => self.claim(Place::Conn(conn)),
            Op::ClaimClient { slot } => self.claim(Place::Client(slot)),
            Op::Drop { passed } => self.leave(passed),
            Op::RecvConn { token, conn } => self.fly(Some(Place::Conn(conn)), token),
            Op::RecvClient { token, slot } => self.fly(Some(Place::Client(slot)), token),
            Op::PollNotify { token, slot } => self.fly(Some(Place::Notify(slot)), token),
            Op::SendConn { token, conn, text } => {
                self.fly(Some(Place::Conn(conn)), token);
                self.said.extend_from_slice(text.of(&self.out.bytes));
                self.owed.push_back((token, text.count as i32));
            }
            Op::SendClient { token, slot, text } => {
                self.fly(Some(Place::Client(slot)), token);
                self.told.extend_from_slice(text.of(&self.out.bytes));
                self.owed.push_back((token, text.count as i32));
            }
            Op::CloseConn { conn, .. } => self.let_go(Place::Conn(conn)),
            Op::ShutClient { slot, .. } | Op::CloseClient { slot, .. } => {
                self.let_go(Place::Client(slot));
            }
            Op::Cancel { token, target } => {
                let found = self.flying.contains(&target);
                self.fly(None, token);
                if found {
                    self.owed.push_back((target, -libc::ECANCELED));
                }
                self.owed.push_back((token, if found { 0 } else { -libc::ENOENT }));
            }
        }
    }

    fn fly(&mut self, place: Option<Place>, token: Token) {
        assert!(!self.flying.contains(&token), "{token:?} is in flight already");
        self.flying.push(token);
        if let Some(place) = place {
            let held = self.places.get_mut(&place);
            held.unwrap_or_else(|| panic!("{place:?} is empty")).push(token);
        }
    }

    fn seat(&mut self, passed: Passed, place: Place) {
        self.leave(passed);
        assert!(self.places.insert(place, Vec::new()).is_none(), "{place:?} is taken");
    }

    fn claim(&mut self, place: Place) {
        assert!(self.vault.remove(&place), "{place:?}: nobody was here");
        assert!(self.places.insert(place, Vec::new()).is_none(), "{place:?} is taken");
    }

    fn leave(&mut self, passed: Passed) {
        let kind = self.lobby.remove(&passed.lobby);
        assert_eq!(kind, Some(passed.kind), "in the lobby once");
    }

    fn let_go(&mut self, place: Place) {
        let is_left = |item: &Token| place == Place::Client(item.index());
        assert!(!self.items.iter().any(is_left), "{place:?} leaves an item behind");
        let held = self.places.remove(&place);
        assert_eq!(held, Some(Vec::new()), "{place:?} is let go");
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
