//! The simulated kernel behind the engine's `Ring`: places, lobby, and what is in flight on them.

use std::io;

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
    /// Slots whose client is with the handoff thread, while the ring holds its socket too.
    away: Vec<u32>,
    notifies: Vec<Place>,
    /// Operations whose terminal completion was not reaped: the token and its place.
    in_flight: Vec<(Token, Where)>,
}

/// A place for a descriptor, and how many operations are in flight on it.
#[derive(Default)]
struct Place {
    fd: Option<SimFd>,
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
            away: Vec::with_capacity(slots as usize),
            notifies: places(slots),
            in_flight: Vec::with_capacity(64),
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
        let is_away = |slot: &u32| at == Where::Client(*slot);
        assert!(!self.away.iter().any(is_away), "[1] {at:?} still holds a worker's client");
        let place = self.place(at).expect("a place");
        assert!(place.fd.is_none(), "[8] {at:?} is taken");
        assert_eq!(place.in_flight, 0, "[5] {at:?} has something in flight");
        place.fd = Some(fd);
    }

    fn session(&self, slot: u32) -> u32 {
        match self.clients[slot as usize].fd.as_ref().map(SimFd::file) {
            Some(File::Session(session)) => session,
            other => panic!("[8] no client in {slot} but {other:?}"),
        }
    }

    fn unseat(&mut self, at: Where) -> SimFd {
        let is_left = self
            .world
            .borrow()
            .kernel
            .items
            .list
            .iter()
            .any(|(_, token, _)| at == Where::Client(token.index()));
        assert!(!is_left, "[6] {at:?} leaves an item behind");
        let place = self.place(at).expect("a place");
        assert_eq!(place.in_flight, 0, "[6] {at:?} is let go with something in flight");
        place.fd.take().unwrap_or_else(|| panic!("[8] {at:?} is empty"))
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
            world.kernel.forget(cqe.data);
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

    /// A client that was handed over does not come back.
    fn release(&mut self, slot: u32) {
        let found = self.away.iter().position(|away| *away == slot);
        self.away.swap_remove(found.expect("[1] somebody was handed over"));
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
            Op::HoldConn { .. } => {}
            Op::ReleaseClient { slot } => self.release(slot),
            Op::ClaimConn { .. } | Op::ReleaseConn { .. } | Op::ClaimClient { .. } => {
                panic!("{op:?}: nobody was here")
            }
            Op::Drop { passed } => drop(self.leave(passed)),
            Op::AddItem { token, slot } => {
                let session = self.session(slot);
                self.world.borrow_mut().add_item(session, token);
            }
            Op::DeleteItem { slot } => {
                let session = self.session(slot);
                self.world.borrow_mut().delete_item(session);
            }
            Op::CloseConn { token, conn } => {
                drop(self.unseat(Where::Conn(conn)));
                self.world.borrow_mut().kernel.done(token, 0);
            }
            Op::CloseClient { token, slot } => {
                drop(self.unseat(Where::Client(slot)));
                self.world.borrow_mut().kernel.done(token, 0);
            }
            Op::ShutClient { token, slot } => {
                let fd = self.unseat(Where::Client(slot));
                let File::Session(session) = fd.file() else { panic!("no client in {slot}") };
                self.world.borrow_mut().shut(session);
                drop(fd);
                self.world.borrow_mut().kernel.done(token, 0);
            }
            _ => return false,
        }
        true
    }
}

/// Where an operation of the queue works, its token and its text.
fn parts(op: &Op) -> (Where, Token, Option<Span>) {
    match *op {
        Op::Accept { token } | Op::ReadWatch { token } => (Where::Nowhere, token, None),
        Op::ReadDoorbell { token } | Op::ReadItems { token } => (Where::Nowhere, token, None),
        Op::Cancel { token, .. } => (Where::Nowhere, token, None),
        Op::RecvConn { token, conn } => (Where::Conn(conn), token, None),
        Op::SendConn { token, conn, text } => (Where::Conn(conn), token, Some(text)),
        Op::RecvClient { token, slot } => (Where::Client(slot), token, None),
        Op::SendClient { token, slot, text } => (Where::Client(slot), token, Some(text)),
        Op::PollNotify { token, slot } => (Where::Notify(slot), token, None),
        op => panic!("{op:?} takes effect at once"),
    }
}

impl Ring for SimRing {
    type Descriptor = SimFd;

    fn push(&mut self, op: &Op, text: &[u8]) -> bool {
        alloc::pause();
        if self.at_once(op) {
            return true;
        }
        let (at, token, span) = parts(op);
        if self.world.borrow().kernel.sq.len() == self.world.borrow().kernel.sq_max {
            self.world.borrow_mut().fell(Fault::SqFull);
            return false;
        }
        let known = self.in_flight.iter().any(|(other, _)| *other == token);
        assert!(!known, "[5] {token:?} is in flight already");
        self.in_flight.push((token, at));
        let file = self.place(at).map(|place| {
            place.in_flight += 1;
            place.fd.as_ref().unwrap_or_else(|| panic!("[8] {at:?} is empty: {op:?}")).file()
        });
        let mut world = self.world.borrow_mut();
        world.tell(|| format!("  {op:?} on {file:?}"));
        if let (Some(File::Session(session)), Kind::ClientRecv | Kind::ClientSend) =
            (file, token.kind())
        {
            world.check_hands_off(session);
        }
        let text = span.map_or(NONE, |span| world.kernel.keep(span.of(text)));
        world.kernel.sq.push(Sqe { op: *op, file, text });
        true
    }

    fn enter(&mut self, _wait_ms: Option<u32>) -> io::Result<()> {
        self.world.borrow_mut().enter();
        Ok(())
    }

    fn reap(&mut self, inbox: &mut Inbox) {
        let shared = self.world.clone();
        let mut world = shared.borrow_mut();
        while inbox.completions.len() < inbox.completions.capacity()
            && let Some(cqe) = world.kernel.cq.pop_front()
        {
            let completion = self.completion(&cqe, &mut world, inbox);
            world.tell(|| {
                let bytes = completion.bytes.of(&inbox.bytes).escape_ascii();
                let more = if cqe.more { " more" } else { "" };
                format!("  {:?} = {}{more} {bytes}", cqe.token, cqe.result)
            });
            inbox.completions.push(completion);
            if cqe.result > 0 && cqe.token.kind() == Kind::ClientRecv {
                let place = &self.clients[cqe.token.index() as usize];
                if let Some(File::Session(index)) = place.fd.as_ref().map(SimFd::file) {
                    world.sessions[index as usize].got += cqe.result as usize;
                }
            }
            if cqe.more || matches!(cqe.token.kind(), Kind::Farewell | Kind::Item) {
                continue;
            }
            let found = self.in_flight.iter().position(|(token, _)| *token == cqe.token);
            let (_, at) = self.in_flight.swap_remove(found.expect("a completion of an operation"));
            if let Some(place) = self.place(at) {
                place.in_flight -= 1;
            }
        }
    }

    fn applied(&mut self) {}

    fn seat_client(&mut self, slot: u32, client: SimFd) {
        self.release(slot);
        self.seat(Where::Client(slot), client);
    }

    fn unseat_client(&mut self, slot: u32) -> SimFd {
        alloc::pause();
        self.away.push(slot);
        self.unseat(Where::Client(slot))
    }

    fn take_passed(&mut self, passed: Passed) -> SimFd {
        alloc::pause();
        self.leave(passed)
    }

    fn seat_notify(&mut self, slot: u32, notify: SimFd) {
        self.seat(Where::Notify(slot), notify);
    }

    fn unseat_notify(&mut self, slot: u32) -> SimFd {
        alloc::pause();
        self.unseat(Where::Notify(slot))
    }
}
