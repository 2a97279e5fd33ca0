//! A small ring with a hibernate socket, an inotify instance and a doorbell of its own.

use std::io::IoSlice;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::eventfd::EventFd;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::limits::Limits;
use crate::ring::{Completion, Inbox, Op, Passed, PassedKind, Ring, Span};
use crate::sys::lasting::Lasting;
use crate::sys::setup::Abilities;
use crate::sys::uring::KernelRing;
use crate::token::{Kind, Token};

pub struct Rig {
    pub ring: KernelRing,
    pub inotify: Inotify,
    pub bell: EventFd,
    address: SocketAddr,
    inbox: Inbox,
}

pub fn limits() -> Limits {
    Limits { slots_max: 16, conns_max: 4, sends_in_flight_max: 8, ..Limits::default() }
}

/// A completion with its bytes.
pub type Seen = (Completion, Vec<u8>);

impl Rig {
    pub fn new() -> Self {
        Self::with(Abilities::look().expect("io_uring"))
    }

    /// As on kernels that can do less.
    pub fn with(abilities: Abilities) -> Self {
        Self::over(abilities, |_| {})
    }

    /// For so many clients.
    pub fn of(slots_max: u32) -> Self {
        let abilities = Abilities::look().expect("io_uring");
        Self::build(Limits { slots_max, ..limits() }, abilities, |_| {})
    }

    /// With what lasts as it was prepared.
    pub fn over(abilities: Abilities, prepare: impl FnOnce(&mut Lasting)) -> Self {
        Self::build(limits(), abilities, prepare)
    }

    fn build(limits: Limits, abilities: Abilities, prepare: impl FnOnce(&mut Lasting)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("torpor-ring-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("a free name");
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).expect("inotify");
        let bell = EventFd::new().expect("eventfd");
        let watch = inotify.as_fd().try_clone_to_owned().expect("dup");
        let doorbell = bell.as_fd().try_clone_to_owned().expect("dup");
        let mut lasting = Lasting::create(&limits).expect("a vault");
        prepare(&mut lasting);
        let ring = KernelRing::with_abilities(
            &limits,
            lasting,
            listener.into(),
            watch,
            doorbell,
            abilities,
        );
        Self { ring: ring.expect("a ring"), inotify, bell, address, inbox: Inbox::new(1) }
    }

    pub fn connect(&self) -> UnixStream {
        UnixStream::connect_addr(&self.address).expect("the rig listens")
    }

    pub fn push(&mut self, op: Op) {
        self.push_text(op, b"");
    }

    pub fn push_text(&mut self, op: Op, text: &[u8]) {
        assert!(self.ring.push(&op, text), "room for {op:?}");
    }

    /// Submits, waits for at most `wait_ms`, reaps.
    pub fn turn(&mut self, wait_ms: u32) -> Vec<Seen> {
        self.ring.enter(Some(wait_ms)).expect("enter");
        self.inbox.clear();
        self.ring.reap(&mut self.inbox);
        self.ring.applied();
        let seen = |done: &Completion| (*done, done.bytes.of(&self.inbox.bytes).to_vec());
        self.inbox.completions.iter().map(seen).collect()
    }

    /// Turns until `count` completions were seen.
    pub fn wait(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..100 {
            seen.extend(self.turn(if seen.len() < count { 50 } else { 0 }));
            if seen.len() >= count {
                return seen;
            }
        }
        panic!("only {seen:?} came, not {count}");
    }

    /// The one completion that is due.
    pub fn one(&mut self) -> Seen {
        let seen = self.wait(1);
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().expect("just counted")
    }

    /// Accepts one connection and seats it at place `conn`; gives the worker's end.
    pub fn conn(&mut self, conn: u32) -> UnixStream {
        let worker = self.connect();
        self.push(Op::Accept { token: token(Kind::Accept, 0) });
        let passed = self.one().0.passed[0].expect("a connection");
        self.cancel(token(Kind::Accept, 0));
        self.push(Op::SeatConn { passed, conn });
        worker
    }

    /// Cancels and joins; gives what the target said at its end.
    pub fn cancel(&mut self, target: Token) -> Seen {
        let own = Token::new(Kind::CancelRecv, target.generation(), target.index());
        self.push(Op::Cancel { token: own, target });
        let mut seen = self.wait(2);
        let place = seen.iter().position(|(done, _)| done.token == target && !done.more);
        let ended = seen.swap_remove(place.expect("the target's end"));
        assert!(seen.iter().any(|(done, _)| done.token == own && !done.more), "{seen:?}");
        ended
    }

    pub fn inotify_raw(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }

    pub fn receive(&mut self, slot: u32) -> Token {
        let token = token(Kind::ClientRecv, slot);
        self.push(Op::RecvClient { token, slot });
        token
    }
}

pub fn token(kind: Kind, index: u32) -> Token {
    Token::new(kind, 7, index)
}

pub fn span(text: &[u8]) -> Span {
    Span { at: 0, count: text.len() as u32 }
}

/// A TCP connection over loopback: ours and the client's end.
pub fn tcp() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    (listener.accept().expect("connected").0.into(), client)
}

/// An AF_UNIX stream pair: ours and the client's end.
pub fn unix() -> (OwnedFd, UnixStream) {
    let (ours, client) = UnixStream::pair().expect("a pair");
    (ours.into(), client)
}

/// One message with descriptors.
pub fn pass(worker: &UnixStream, text: &[u8], descriptors: &[RawFd]) {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[] } else { &rights[..] };
    let sent =
        sendmsg::<()>(worker.as_raw_fd(), &[IoSlice::new(text)], control, MsgFlags::empty(), None);
    assert_eq!(sent, Ok(text.len()));
}

pub fn kinds(passed: &[Option<Passed>]) -> Vec<PassedKind> {
    passed.iter().flatten().map(|passed| passed.kind).collect()
}
