//! The engine on the real kernel: core, driver, ring and watcher together, with a worker and an
//! `imap-master` that are played by the test. One test, alone in its process, because it counts
//! descriptors.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::eventfd::EventFd;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use torpor_engine::command::{Answer, Command};
use torpor_engine::core::{Core, Now};
use torpor_engine::drive::{Desk, Driver, Handoff};
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::report::{Counters, Event, Report};
use torpor_engine::sys::uring::KernelRing;
use torpor_engine::watcher::ThreadWatcher;
use torpor_handoff::message::{Exited, Outcome, Returned, Wake};

#[test]
fn clients_sleep_and_wake_on_the_real_kernel() {
    let home = std::env::temp_dir().join(format!("torpor-real-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    // The folder is made well before anybody sleeps on it.
    thread::sleep(Duration::from_millis(50));
    let before = descriptors();
    life(&home);
    // The kernel ends the ring, and with it what is in flight, a little later.
    let patience = Instant::now() + Duration::from_secs(5);
    while descriptors() != before && Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(descriptors(), before, "every descriptor was closed");
    std::fs::remove_dir_all(&home).unwrap();
}

fn life(home: &Path) {
    let mut engine = Engine::new();
    let mut done = engine.hibernate(home, true);
    let mut mail = engine.hibernate(home, true);
    let mut bare = engine.hibernate(home, false);
    assert_eq!(engine.counters().asleep, 3);

    // Answered asleep, then woken with exactly the bytes that came.
    done.write_all(b"DONE\r\nb2 IDLE\r\n").unwrap();
    engine.turn_until(|engine| engine.counters().idles_answered == 1);
    assert_eq!(line(&mut done), "a1 OK Idle completed.\r\n");
    assert_eq!(line(&mut done), "+ idling\r\n");
    done.write_all(b"DO").unwrap();
    engine.turn_for(Duration::from_millis(20));
    done.write_all(b"NE\r\n").unwrap();
    let wake = engine.wake();
    let parcel = String::from_utf8(wake.parcel.clone()).unwrap();
    assert!(
        parcel.contains("\ttag=b2\t") && parcel.contains("\tclient_input=RE9ORQ0K"),
        "{parcel}"
    );

    // A refusal gives it back; what it says meanwhile is not lost.
    done.write_all(b"b3 NOOP\r\n").unwrap();
    engine.end(wake, Outcome::Refused);
    let wake = engine.wake();
    let parcel = String::from_utf8(wake.parcel.clone()).unwrap();
    let mut left = String::new();
    let socket = TcpStream::from(wake.client.try_clone().unwrap());
    socket.set_nonblocking(true).unwrap();
    let _ = (&socket).read_to_string(&mut left);
    let both = parcel.contains("\tclient_input=RE9ORQ0KYjMgTk9PUA0K") && left.is_empty();
    let one = parcel.contains("\tclient_input=RE9ORQ0K") && left == "b3 NOOP\r\n";
    assert!(both || one, "{parcel} and {left:?}");
    drop(socket);
    engine.end(wake, Outcome::Taken);

    // A hang-up.
    let other = engine.hibernate(home, true);
    drop(other);
    engine.turn_until(|engine| engine.counters().disconnected == 1);

    // Mail for the second, nothing for the third.
    std::fs::write(home.join("1.mail"), b"x").unwrap();
    let wake = engine.wake();
    assert!(wake.parcel.ends_with(b"\tidle-continue\n"), "{:?}", wake.parcel);
    engine.end(wake, Outcome::Taken);
    engine.turn_until(|engine| engine.counters().asleep == 1);
    assert_eq!(mail.write(b"x").unwrap(), 1, "its connection is the worker's now");

    engine.driver.desk.orders.push_back(Command::Stop { ticket: 1 });
    engine.turn_until(|engine| engine.stopped);
    assert_eq!(line(&mut bare), "* BYE Server shutting down.\r\n");
    assert_eq!(bare.read(&mut [0; 1]).unwrap(), 0);
    let Driver { watcher, ring, .. } = engine.driver;
    drop(ring);
    watcher.join();
}

struct Engine {
    driver: Driver<KernelRing, Master, ThreadWatcher, Clerk>,
    address: SocketAddr,
    started: Instant,
    stopped: bool,
}

impl Engine {
    fn new() -> Self {
        let name = format!("torpor-real-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let bell = EventFd::new().unwrap();
        let doorbell = || bell.as_fd().try_clone_to_owned().unwrap();
        let (watcher, watch) = ThreadWatcher::start(doorbell(), None).unwrap();
        let limits = Limits {
            slots_max: 16,
            conns_max: 4,
            cold_blocks_max: 1024,
            mailboxes_max: 16,
            sends_in_flight_max: 16,
            ..Limits::default()
        };
        let ring = KernelRing::new(&limits, listener.into(), watch, doorbell()).unwrap();
        let core = Core::new(&limits, Knobs { late_change_ms: 0, ..Knobs::default() }, 7);
        let driver = Driver::new(core, ring, Master::default(), watcher, Clerk::default());
        let driver = driver.unwrap();
        Self { driver, address, started: Instant::now(), stopped: false }
    }

    fn counters(&self) -> &Counters {
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

    fn turn_until(&mut self, reached: impl Fn(&Self) -> bool) {
        let patience = Instant::now() + Duration::from_secs(10);
        while !reached(self) {
            assert!(
                Instant::now() < patience,
                "{:?}: {:?}",
                self.counters(),
                self.driver.desk.said
            );
            self.turn();
        }
        // What the last step wanted is submitted by the next turn.
        self.turn();
    }

    fn turn_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
        }
    }

    /// The next client that imap-master is offered.
    fn wake(&mut self) -> Wake<OwnedFd> {
        self.turn_until(|engine| !engine.driver.handoff.offered.is_empty());
        self.driver.handoff.offered.pop_front().unwrap()
    }

    /// How that went.
    fn end(&mut self, wake: Wake<OwnedFd>, outcome: Outcome) {
        self.driver.handoff.ended.push_back(Returned::new(wake, outcome, b""));
        self.turn();
    }

    /// Plays a worker that gives away a client; gives the client's end.
    fn hibernate(&mut self, home: &Path, with_mailbox: bool) -> TcpStream {
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

/// imap-master, as the test plays it.
#[derive(Default)]
struct Master {
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
struct Clerk {
    said: Vec<Event>,
    orders: VecDeque<Command>,
}

impl Desk for Clerk {
    fn report(&mut self, report: &Report, _text: &[u8]) {
        self.said.push(report.event);
    }

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

fn line(client: &mut TcpStream) -> String {
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
