//! A private imap-master with workers that behave as a test says, and a handoff thread beside it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use torpor_handoff::line::{HibernateLine, MASTER_VERSION, Wakeup, unhibernate};
use torpor_handoff::message::{Exited, Returned, Wake};
use torpor_handoff::sys::fd::receive;
use torpor_handoff::{Handoff, HandoffConfig};

/// What one test stands on. `folder` goes last.
pub struct Ground {
    pub handoff: Handoff,
    pub path: PathBuf,
    doorbell: Arc<EventFd>,
    workers: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// Runs a test with limits of 400 ms each, alone in its process, and sees that every descriptor
/// it opened is closed behind it.
pub fn alone(test: impl FnOnce(&mut Ground)) {
    alone_with(400, 400, test);
}

pub fn alone_with(version_timeout_ms: u64, ack_timeout_ms: u64, test: impl FnOnce(&mut Ground)) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    {
        let mut ground = Ground::new(version_timeout_ms, ack_timeout_ms);
        test(&mut ground);
        assert!(ground.handoff.returned().is_none(), "a reply that the test did not expect");
        for worker in ground.workers.drain(..) {
            worker.join().expect("the worker kept to its script");
        }
    }
    assert_eq!(descriptors(), before, "descriptors were left open");
}

fn descriptors() -> Vec<String> {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let links = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let mut names: Vec<String> = links
        .map(|link| link.display().to_string())
        .filter(|name| !name.starts_with("/proc/"))
        .collect();
    names.sort();
    names
}

impl Ground {
    fn new(version_timeout_ms: u64, ack_timeout_ms: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imap-master");
        let doorbell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap());
        let config = HandoffConfig {
            master_path: path.clone(),
            in_flight_max: 64,
            workers_watched_max: 2,
            version_timeout_ms,
            ack_timeout_ms,
        };
        let copy = doorbell.as_fd().try_clone_to_owned().unwrap();
        let handoff = Handoff::start(config, None, copy).unwrap();
        Self { handoff, path, doorbell, workers: Vec::new(), _folder: folder }
    }

    /// Listens, and lets each of `count` connections be served by `worker`, one after another.
    pub fn serve(&mut self, count: usize, worker: impl Fn(UnixStream) + Send + 'static) {
        let listener = UnixListener::bind(&self.path).unwrap();
        self.workers.push(std::thread::spawn(move || {
            for _ in 0..count {
                worker(listener.accept().unwrap().0);
            }
        }));
    }

    /// Sends a client to a worker; the client's own end stays here.
    pub fn wake(&mut self, slot: u32) -> UnixStream {
        let (mine, client) = UnixStream::pair().unwrap();
        mine.set_read_timeout(Some(PATIENCE)).unwrap();
        let (generation, session) = (slot + 7, u64::from(slot));
        let wake = Wake {
            slot,
            generation,
            session,
            place: slot,
            attempt: 1,
            is_resumed: false,
            since_us: 0,
            parcel: parcel(0),
            client: client.into(),
        };
        self.handoff.send(wake).map_err(drop).expect("there is room");
        self.handoff.flush();
        mine
    }

    /// Waits for the doorbell and takes the next reply.
    pub fn reply(&mut self) -> Returned<OwnedFd> {
        let start = Instant::now();
        loop {
            if let Some(returned) = self.handoff.returned() {
                assert_eq!(returned.reply.generation, returned.reply.slot + 7);
                return returned;
            }
            assert!(start.elapsed() < PATIENCE, "no reply");
            let mut doorbell = [PollFd::new(self.doorbell.as_fd(), PollFlags::POLLIN)];
            let rung = poll(&mut doorbell, PollTimeout::from(10_000u16)).unwrap();
            assert_eq!(rung, 1, "the doorbell did not ring");
            self.doorbell.read().unwrap();
        }
    }

    /// Waits for the end of a worker that took a client.
    pub fn exit(&mut self) -> Exited {
        let start = Instant::now();
        loop {
            if let Some(exited) = self.handoff.exited() {
                return exited;
            }
            assert!(start.elapsed() < PATIENCE, "no end is told");
            let mut doorbell = [PollFd::new(self.doorbell.as_fd(), PollFlags::POLLIN)];
            let rung = poll(&mut doorbell, PollTimeout::from(10_000u16)).unwrap();
            assert_eq!(rung, 1, "the doorbell did not ring");
            self.doorbell.read().unwrap();
        }
    }

    /// One client's whole way.
    pub fn handed(&mut self) -> (Returned<OwnedFd>, UnixStream) {
        let mine = self.wake(3);
        let returned = self.reply();
        assert_eq!(returned.reply.slot, 3);
        (returned, mine)
    }
}

/// A request line, with a state of `more` bytes on top.
pub fn parcel(more: usize) -> Vec<u8> {
    let line = format!("u1\tp\tsession=s\ttag=a1\tidle-cmd\tfiller={}", "x".repeat(more));
    HibernateLine::parse(line.as_bytes()).unwrap();
    let mut parcel = Vec::with_capacity(4096 + more);
    unhibernate::render(&mut parcel, line.as_bytes(), &Wakeup::default());
    parcel
}

/// The client is ours again, and as alive as before.
pub fn expect_alive(returned: Returned<OwnedFd>, mut mine: UnixStream) {
    let mut client = UnixStream::from(returned.client.expect("the client comes back"));
    let mut byte = [0];
    client.write_all(b"x").unwrap();
    mine.read_exact(&mut byte).unwrap();
    mine.write_all(b"y").unwrap();
    client.read_exact(&mut byte).unwrap();
}

/// Nobody holds the client's connection any more, or it was shut down.
pub fn expect_cut(returned: Returned<OwnedFd>, mut mine: UnixStream) {
    assert!(returned.client.is_none());
    assert_eq!(mine.read(&mut [0; 8]).unwrap(), 0);
}

/// Says VERSION and hears the other's.
pub fn greet(stream: &mut UnixStream) {
    stream.write_all(MASTER_VERSION).unwrap();
    let mut version = [0; MASTER_VERSION.len()];
    stream.read_exact(&mut version).unwrap();
    assert_eq!(version, MASTER_VERSION);
}

/// Reads the request with the client's descriptor.
pub fn take(stream: &mut UnixStream) -> (Vec<u8>, UnixStream) {
    let (mut line, mut clients) = (Vec::new(), Vec::new());
    let mut buffer = [0; 65_536];
    while line.last() != Some(&b'\n') {
        let mut readable = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut readable, PollTimeout::from(5000u16)).unwrap();
        let received = match receive(stream.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => continue,
            other => other.unwrap(),
        };
        assert!(received.count > 0, "the request was cut");
        if line.is_empty() {
            assert_eq!(received.passed.count(), 1, "the descriptor rides on the first byte");
        }
        line.extend_from_slice(&buffer[..received.count]);
        clients.extend(received.passed.fds.into_iter().flatten());
    }
    assert_eq!(clients.len(), 1, "the descriptor goes out once");
    (line, UnixStream::from(clients.pop().unwrap()))
}

/// Waits until the other side has hung up.
pub fn hear_hang_up(mut stream: UnixStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

pub const PATIENCE: Duration = Duration::from_secs(10);
