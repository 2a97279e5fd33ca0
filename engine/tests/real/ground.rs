//! An engine on the real kernel, with a worker and an `imap-master` that the test plays.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IoSlice, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::eventfd::EventFd;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

use torpor_engine::command::{Answer, Command};
use torpor_engine::core::{Core, Now};
use torpor_engine::drive::{Desk, Driver, Handoff};
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::report::{Counters, Report};
use torpor_engine::sys::lasting::Lasting;
use torpor_engine::sys::uring::KernelRing;
use torpor_engine::watcher::{Marks, Post, Ways, instance, serve};
use torpor_handoff::message::{Exited, Outcome, Returned, Wake};

pub struct Engine {
    pub driver: Driver<KernelRing, Master, Post, Clerk>,
    address: SocketAddr,
    started: Instant,
    pub stopped: bool,
}

impl Engine {
    /// An engine for `slots_max` clients, which sit in a vault or each behind a number.
    pub fn new(slots_max: u32, in_vault: bool) -> Self {
        Self::with(slots_max, in_vault, Knobs::default())
    }

    /// The same with knobs.
    pub fn with(slots_max: u32, in_vault: bool, knobs: Knobs) -> Self {
        Self::over(slots_max, in_vault, knobs, |_| {})
    }

    /// The same with what lasts as it was prepared.
    pub fn over(
        slots_max: u32,
        in_vault: bool,
        knobs: Knobs,
        prepare: impl FnOnce(&mut Lasting),
    ) -> Self {
        Self::build(slots_max, in_vault, knobs, None, prepare)
    }

    /// One that hears of mailboxes by marks as well.
    pub fn hearing(slots_max: u32, marks: Option<Marks>) -> Self {
        Self::build(slots_max, true, Knobs::default(), marks, |_| {})
    }

    fn build(
        slots_max: u32,
        in_vault: bool,
        knobs: Knobs,
        marks: Option<Marks>,
        prepare: impl FnOnce(&mut Lasting),
    ) -> Self {
        let name = format!("torpor-real-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let bell = EventFd::new().unwrap();
        let doorbell = || bell.as_fd().try_clone_to_owned().unwrap();
        let marked = marks.as_ref().map(|marks| marks.source().unwrap());
        let limits = Limits {
            slots_max,
            conns_max: 4,
            cold_blocks_max: slots_max * 16 + 768,
            mailboxes_max: 16,
            sends_in_flight_max: 512,
            ..Limits::default()
        };
        let tell = |line: &str| println!("{line}");
        let watch = instance().unwrap();
        let shared = watch.try_clone().unwrap();
        let watcher = Post::start(&limits, doorbell(), shared, marks, tell).unwrap();
        let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
        let (near, far) = socketpair(AddressFamily::Unix, kind, None, flags).unwrap();
        // In a process of its own elsewhere.
        thread::spawn(move || serve(far, Ways::default()));
        watcher.connections().take(near);
        // The watcher's, the ring's, and that of the thread between.
        while instances() < 3 {
            thread::sleep(Duration::from_millis(1));
        }
        let lasting = match in_vault {
            true => Lasting::create(&limits),
            false => Lasting::create_numbered(&limits),
        };
        let mut lasting = lasting.unwrap();
        prepare(&mut lasting);
        let mut ring =
            KernelRing::new(&limits, lasting, listener.into(), watch, doorbell()).unwrap();
        marked.into_iter().for_each(|marked| ring.set_marks(marked));
        let core = Core::new(&limits, Knobs { late_change_ms: 0, ..knobs }, 7);
        let driver = Driver::new(core, ring, Master::default(), watcher, Clerk::default());
        let driver = driver.unwrap();
        Self { driver, address, started: Instant::now(), stopped: false }
    }

    /// After it has stopped.
    pub fn close(self) {
        let Driver { watcher, ring, .. } = self.driver;
        drop(ring);
        watcher.join();
    }

    pub fn counters(&self) -> &Counters {
        self.driver.core.counters()
    }

    fn turn(&mut self) {
        let since = self.started.elapsed();
        let clock = || Now {
            mono_ms: 1_000_000 + since.as_millis() as u64,
            wall_us: SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64,
        };
        self.stopped |= self.driver.turn(Some(5), clock).unwrap();
    }

    pub fn turn_until(&mut self, reached: impl Fn(&Self) -> bool) {
        let patience = Instant::now() + Duration::from_secs(20);
        while !reached(self) {
            assert!(Instant::now() < patience, "{:?}", self.counters());
            self.turn();
        }
        // What the last step wanted is submitted by the next turn.
        self.turn();
    }

    pub fn turn_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
        }
    }

    /// The next client that imap-master is offered.
    pub fn wake(&mut self) -> Wake<OwnedFd> {
        self.turn_until(|engine| !engine.driver.handoff.offered.is_empty());
        self.driver.handoff.offered.pop_front().unwrap()
    }

    /// How that went.
    pub fn end(&mut self, wake: Wake<OwnedFd>, outcome: Outcome) {
        self.driver.handoff.ended.push_back(Returned::new(wake, outcome, b""));
        self.turn();
    }

    /// A worker that gives away as many clients, one after the other; gives the clients' ends.
    pub fn hibernate_many(&mut self, count: u32) -> Vec<UnixStream> {
        let (ours, clients): (Vec<_>, Vec<_>) =
            (0..count).map(|_| UnixStream::pair().unwrap()).unzip();
        let address = self.address.clone();
        let worker = thread::spawn(move || ours.iter().for_each(|ours| offer(&address, ours)));
        let asleep = self.counters().asleep + u64::from(count);
        self.turn_until(|engine| engine.counters().asleep == asleep);
        worker.join().unwrap();
        clients
    }

    /// Plays a worker that gives away a client; gives the client's end.
    pub fn hibernate(&mut self, home: &Path, with_mailbox: bool) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = listener.accept().unwrap().0;
        let (address, home) = (self.address.clone(), home.to_owned());
        let worker = thread::spawn(move || {
            let socket = UnixStream::connect_addr(&address).unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let mut hear = move || {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                line
            };
            assert_eq!(hear(), "VERSION\timap-hibernate\t1\t0\n");
            pass(&socket, b"VERSION\timap-hibernate\t1\t0\n", None);
            pass(&socket, b"u", Some(ours.as_raw_fd()));
            let notify = if with_mailbox { "\tnotify_fd" } else { "" };
            let rest =
                format!("1\tpfx\tidle_notify_interval=0\ttag=a1\tidle-cmd{notify}\tstate=eA==\n");
            pass(&socket, rest.as_bytes(), None);
            assert_eq!(hear(), "+\n");
            if with_mailbox {
                let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
                inotify.add_watch(&home, AddWatchFlags::IN_CREATE).unwrap();
                pass(&socket, b"\n", Some(inotify.as_fd().as_raw_fd()));
                assert_eq!(hear(), "+\n");
            }
        });
        let asleep = self.counters().asleep;
        self.turn_until(|engine| engine.counters().asleep == asleep + 1);
        worker.join().unwrap();
        client
    }
}

/// Gives a client away, without a mailbox.
fn offer(address: &SocketAddr, client: &UnixStream) {
    let socket = UnixStream::connect_addr(address).unwrap();
    let mut heard = BufReader::new(socket.try_clone().unwrap());
    let mut hear = || {
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(hear(), "VERSION\timap-hibernate\t1\t0\n");
    pass(&socket, b"VERSION\timap-hibernate\t1\t0\n", None);
    let line = b"u\tpfx\tidle_notify_interval=0\ttag=a1\tidle-cmd\tstate=eA==\n";
    pass(&socket, line, Some(client.as_raw_fd()));
    assert_eq!(hear(), "+\n");
}

/// imap-master, as the test plays it.
#[derive(Default)]
pub struct Master {
    offered: VecDeque<Wake<OwnedFd>>,
    ended: VecDeque<Returned<OwnedFd>>,
}

impl Handoff for Master {
    type Descriptor = OwnedFd;

    fn send(&mut self, wake: Wake<OwnedFd>) {
        self.offered.push_back(wake);
    }

    fn returned(&mut self) -> Option<Returned<OwnedFd>> {
        self.ended.pop_front()
    }

    fn exited(&mut self) -> Option<Exited> {
        None
    }
}

#[derive(Default)]
pub struct Clerk {
    pub orders: VecDeque<Command>,
}

impl Desk for Clerk {
    fn report(&mut self, _report: &Report, _text: &[u8]) {}

    fn answer(&mut self, _answer: &Answer, _text: &[u8]) {}

    fn counters(&mut self, _counters: &Counters) {}

    fn command(&mut self) -> Option<Command> {
        self.orders.pop_front()
    }
}

fn pass(socket: &UnixStream, text: &[u8], descriptor: Option<RawFd>) {
    let numbers = descriptor.as_slice();
    let rights = [ControlMessage::ScmRights(numbers)];
    let control = if numbers.is_empty() { &[] } else { &rights[..] };
    let part = [IoSlice::new(text)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &part, control, MsgFlags::empty(), None);
    assert_eq!(sent, Ok(text.len()));
}

pub fn line(client: &mut TcpStream) -> String {
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Descriptors of inotify instances in this process.
fn instances() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let names = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    names.filter(|name| name.to_string_lossy() == "anon_inode:inotify").count()
}
