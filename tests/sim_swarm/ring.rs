//! The simulated kernel behind the engine's `Ring`: places, lobby, and what is in flight on them.
//! What a place holds for the vault is there for an heir: each client, and a hibernate connection
//! whose last `+` goes out.

mod calls;
mod heir;

use std::io;

use torpor_engine::planted::kill_point;
use torpor_engine::ring::{Completion, Inbox, Op, Passed, PassedKind, Ring, Span};
use torpor_engine::token::{Kind, Token};

use crate::alloc;
use crate::faults::Fault;
use crate::kernel::{Cqe, NONE, Sqe};
use crate::world::{File, Shared, SimFd, World};

pub struct SimRing {
    world: Shared,
    lobby: Vec<Option<SimFd>>,
    conns: Vec<Place>,
    clients: Vec<Place>,
    notifies: Vec<Place>,
    /// Operations whose terminal completion was not reaped: the token and its place.
    in_flight: Vec<(Token, Where)>,
    /// Reaped and not applied yet: their bytes are kept for an heir.
    taken: Vec<Cqe>,
}

/// A place for a descriptor, and how many operations are in flight on it.
#[derive(Default)]
struct Place {
    fd: Option<SimFd>,
    /// True exactly when it is the engine's to use: not while it is with the handoff thread, nor
    /// before an heir has claimed it.
    seated: bool,
    /// True exactly when it outlives the engine.
    held: bool,
    in_flight: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Nowhere,
    Conn(u32),
    Client(u32),
    Notify(u32),
}

impl SimRing {
    pub fn new(world: &Shared) -> Self {
        let (slots, conns) = {
            let world = world.borrow();
            (world.swarm.limits.slots_max, world.swarm.limits.conns_max)
        };
        let places = |count| (0..count).map(|_| Place::default()).collect();
        Self {
            world: world.clone(),
            lobby: Vec::with_capacity(16),
            conns: places(conns),
            clients: places(slots),
            notifies: places(slots),
            in_flight: Vec::with_capacity(64),
            taken: Vec::with_capacity(64),
        }
    }

    /// Descriptors in all places.
    pub fn held(&self) -> [usize; 4] {
        let count = |places: &[Place]| places.iter().filter(|place| place.fd.is_some()).count();
        let lobby = self.lobby.iter().flatten().count();
        [lobby, count(&self.conns), count(&self.clients), count(&self.notifies)]
    }

    fn place(&mut self, at: Where) -> Option<&mut Place> {
        match at {
            Where::Nowhere => None,
            Where::Conn(index) => Some(&mut self.conns[index as usize]),
            Where::Client(index) => Some(&mut self.clients[index as usize]),
            Where::Notify(index) => Some(&mut self.notifies[index as usize]),
        }
    }

    fn seat(&mut self, at: Where, fd: SimFd) {
        let held = matches!(at, Where::Client(_));
        let place = self.place(at).expect("a place");
        assert!(place.fd.is_none(), "[1] {at:?} is taken, perhaps by a worker's client");
        assert_eq!(place.in_flight, 0, "[5] {at:?} has something in flight");
        *place = Place { fd: Some(fd), seated: true, held, in_flight: 0 };
    }

    fn session(&self, slot: u32) -> u32 {
        match self.clients[slot as usize].fd.as_ref().map(SimFd::file) {
            Some(File::Session(session)) => session,
            other => panic!("[8] no client in {slot} but {other:?}"),
        }
    }

    /// Nothing may hear the place any more.
    fn check_leaves(&mut self, at: Where) {
        let is_its = |token: &Token| at == Where::Client(token.index());
        let world = self.world.borrow();
        let is_left = world.kernel.items.list.iter().any(|(_, token, _)| is_its(token));
        drop(world);
        assert!(!is_left, "[6] {at:?} leaves an item behind");
        let place = self.place(at).expect("a place");
        assert!(place.seated, "[8] {at:?} is empty");
        assert_eq!(place.in_flight, 0, "[6] {at:?} is let go with something in flight");
    }

    fn unseat(&mut self, at: Where) -> SimFd {
        self.check_leaves(at);
        let place = std::mem::take(self.place(at).expect("a place"));
        place.fd.expect("who sits there")
    }

    fn leave(&mut self, passed: Passed) -> SimFd {
        self.lobby[passed.lobby as usize].take().expect("[8] a descriptor is in the lobby once")
    }

    fn enter_lobby(&mut self, fd: SimFd, world: &World) -> Passed {
        let (kind, inode) = match fd.file() {
            File::Session(index) => {
                let session = &world.sessions[index as usize];
                let kind = if session.unix { PassedKind::Unix } else { PassedKind::Tcp };
                (kind, u64::from(session.serial))
            }
            File::Hand(_) => (PassedKind::Unix, 1),
            File::Notify(index) if world.notifies[index as usize].pipe => (PassedKind::Pollable, 2),
            File::Notify(_) => (PassedKind::Inotify, 2),
            File::Odd => (PassedKind::Other, 3),
        };
        let free = self.lobby.iter().position(Option::is_none);
        let lobby = free.unwrap_or_else(|| {
            self.lobby.push(None);
            self.lobby.len() - 1
        });
        self.lobby[lobby] = Some(fd);
        Passed { lobby: lobby as u32, kind, dev_major: 0, dev_minor: 9, inode }
    }

    fn completion(&mut self, cqe: &Cqe, world: &mut World, inbox: &mut Inbox) -> Completion {
        let mut bytes = Span::default();
        if cqe.data != NONE {
            bytes = inbox.keep(world.kernel.bytes(cqe.data));
            world.kernel.buffers += u32::from(cqe.provided);
        }
        let mut completion = Completion::plain(cqe.token, cqe.result, cqe.more);
        for (index, file) in cqe.passed.into_iter().enumerate() {
            if let Some(file) = file {
                if let File::Hand(hand) = file {
                    world.hands[hand as usize].accepted_ms = Some(world.mono_ms);
                }
                let fd = SimFd::new(file, &self.world);
                completion.passed[index] = Some(self.enter_lobby(fd, world));
            }
        }
        completion.bytes = bytes;
        completion.passed_lost = cqe.passed_lost;
        completion.peer = cqe.peer;
        completion
    }

    /// The place is empty from here on, whoever was in it.
    fn release(&mut self, at: Where) {
        let place = std::mem::take(self.place(at).expect("a place"));
        assert!(!place.seated, "[8] {at:?} is somebody's");
        drop(place.fd);
    }

    fn claim(&mut self, at: Where) {
        let place = self.place(at).expect("a place");
        assert!(place.fd.is_some() && !place.seated, "[1] the vault has nobody in {at:?}");
        place.seated = true;
    }

    /// What takes effect at once. `false` when the operation is for the queue.
    fn at_once(&mut self, op: &Op) -> bool {
        match *op {
            Op::SeatConn { passed, conn } => {
                let fd = self.leave(passed);
                self.seat(Where::Conn(conn), fd);
            }
            Op::SeatClient { passed, slot } => {
                let fd = self.leave(passed);
                self.seat(Where::Client(slot), fd);
            }
            Op::HoldConn { conn } => self.conns[conn as usize].held = true,
            Op::ReleaseClient { slot } => self.release(Where::Client(slot)),
            Op::ReleaseConn { conn } => self.release(Where::Conn(conn)),
            Op::ClaimClient { slot } => self.claim(Where::Client(slot)),
            Op::ClaimConn { conn } => self.claim(Where::Conn(conn)),
            Op::Drop { passed } => drop(self.leave(passed)),
            Op::AddItem { token, slot } => {
                let session = self.session(slot);
                self.world.borrow_mut().add_item(session, token);
            }
            Op::DeleteItem { slot } => {
                let session = self.session(slot);
                self.world.borrow_mut().delete_item(session);
            }
            Op::CloseConn { conn } => drop(self.unseat(Where::Conn(conn))),
            Op::CloseClient { slot } => drop(self.unseat(Where::Client(slot))),
            _ => return false,
        }
        true
    }
}
