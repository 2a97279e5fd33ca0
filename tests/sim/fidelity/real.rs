//! The kernel's side of the comparison.

use std::fs::File;
use std::io::{IoSlice, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use torpor_engine::limits::Limits;
use torpor_engine::ring::{PassedKind, Ring};
use torpor_engine::sys::lasting::Lasting;
use torpor_engine::sys::uring::KernelRing;

use super::{PLACES, Step, World, seat_conn};

pub struct Kernel {
    ring: KernelRing,
    address: SocketAddr,
    clients: Vec<Option<UnixStream>>,
    workers: Vec<Option<UnixStream>>,
    notifies: Vec<PipeWriter>,
    /// What is passed over connections: a pipe's end, a socket, a file.
    things: (PipeReader, UnixStream, File),
}

impl Kernel {
    /// The seed makes the socket's name its own; with every other, clients sit in a vault.
    pub fn new(seed: u64) -> Self {
        let name = format!("torpor-fidelity-{}-{seed}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("a free name");
        let limits = Limits {
            slots_max: PLACES,
            conns_max: PLACES,
            sends_in_flight_max: PLACES,
            ..Limits::default()
        };
        // Nobody reads mail here; a pipe is as quiet as an inotify instance without watches.
        let quiet = || OwnedFd::from(pipe().expect("a pipe").0);
        let lasting = match seed.is_multiple_of(2) {
            true => Lasting::create(&limits),
            false => Lasting::create_numbered(&limits),
        };
        let lasting = lasting.expect("descriptors");
        let ring = KernelRing::new(&limits, lasting, listener.into(), quiet(), quiet());
        let file = File::open("/proc/self/status").expect("procfs");
        let socket = UnixStream::pair().expect("a pair").0;
        Self {
            ring: ring.expect("io_uring"),
            address,
            clients: Vec::new(),
            workers: Vec::new(),
            notifies: Vec::new(),
            things: (pipe().expect("a pipe").0, socket, file),
        }
    }

    fn number(&self, kind: PassedKind) -> RawFd {
        match kind {
            PassedKind::Pollable => self.things.0.as_raw_fd(),
            PassedKind::Unix => self.things.1.as_raw_fd(),
            _ => self.things.2.as_raw_fd(),
        }
    }

    fn pass(&self, conn: u32, text: &[u8], kinds: &[PassedKind]) {
        let worker = self.workers[conn as usize].as_ref().expect("it has not left");
        let numbers: Vec<RawFd> = kinds.iter().map(|kind| self.number(*kind)).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &[] } else { &rights[..] };
        let part = [IoSlice::new(text)];
        let sent = sendmsg::<()>(worker.as_raw_fd(), &part, control, MsgFlags::empty(), None);
        assert_eq!(sent, Ok(text.len()), "the script never fills a socket");
    }
}

impl World for Kernel {
    type Ring = KernelRing;

    fn ring(&mut self) -> &mut KernelRing {
        &mut self.ring
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Say(client, text) => {
                let client = self.clients[*client as usize].as_mut().expect("it has not hung up");
                client.write_all(text).expect("the script never fills a socket");
            }
            Step::HangUp(client) => self.clients[*client as usize] = None,
            Step::Pass(conn, text, kinds) => self.pass(*conn, text, kinds),
            Step::Leave(conn) => {
                // A worker reads what it was told; else its end would be a reset.
                let mut worker = self.workers[*conn as usize].take().expect("it leaves once");
                worker.set_nonblocking(true).expect("a socket");
                let _ = worker.read_to_end(&mut Vec::new());
            }
            Step::Notify(slot) => {
                let notify = &mut self.notifies[*slot as usize];
                notify.write_all(b"x").expect("the script never fills a pipe");
            }
            step => unreachable!("{step:?} is the engine's"),
        }
    }

    fn seat(&mut self) {
        for place in 0..PLACES {
            let (ours, client) = UnixStream::pair().expect("a pair");
            let (notify, writer) = pipe().expect("a pipe");
            self.ring.seat_client(place, ours.into());
            self.ring.seat_notify(place, notify.into());
            let worker = UnixStream::connect_addr(&self.address).expect("the ring's listener");
            seat_conn(&mut self.ring, place);
            self.clients.push(Some(client));
            self.workers.push(Some(worker));
            self.notifies.push(writer);
        }
    }
}
