//! What only the inside shows.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::bounded;
use nix::sys::eventfd::EfdFlags;

use super::*;
use crate::keep::{Keep, Kept};
use crate::line::MASTER_VERSION;
use crate::master::Timeouts;
use crate::sys::fd::mark;

/// A desk on `path` with room for one conversation, and what it tells.
struct Office {
    desk: Desk,
    wakes: Sender<Wake<OwnedFd>>,
    returns: Receiver<Returned<OwnedFd>>,
    exits: Receiver<Exited>,
}

/// A place that holds what an engine before this one has left in it.
struct Left(Mutex<Option<Kept>>);

impl Keep for Left {
    fn put(&self, _: u32, _: BorrowedFd<'_>, _: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
        panic!("who is resumed is not put there again")
    }

    fn take(&self, _: u32) -> Option<Kept> {
        self.0.lock().unwrap().take()
    }

    fn clear(&self, _: u32) {}
}

fn office(path: PathBuf, keep: Option<Arc<dyn Keep>>) -> Office {
    let eventfd = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let ((wakes_in, wakes), (returns, returns_out)) = (bounded(1), bounded(1));
    let (exits, exits_out) = bounded(1);
    let channels = Channels { wakes, returns, exits };
    let timeouts = Timeouts { version_ms: 10_000, ack_ms: 20, exit_ms: 20 };
    let way = Way { path, timeouts, keep, delays: Arc::default() };
    let (bell, doorbell) = (Arc::new(eventfd()), Doorbell::new(eventfd().into()));
    let workers = Workers::new(1);
    let desk = Desk::new(way, 1, workers, bell, channels, doorbell).unwrap();
    Office { desk, wakes: wakes_in, returns: returns_out, exits: exits_out }
}

/// A `+` that has come before the deadline was looked at counts, although nobody has read it.
#[test]
fn the_last_look_finds_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imap-master");
    let listener = UnixListener::bind(&path).unwrap();
    let Office { mut desk, wakes, returns, .. } = office(path, None);
    wakes.send(wake(b"u1\ttag=a1\n", false)).unwrap();
    desk.take_wakes();
    let (mut worker, _) = listener.accept().unwrap();
    worker.write_all(MASTER_VERSION).unwrap();
    assert!(desk.read(0), "the descriptor goes out");
    worker.write_all(b"+").unwrap();
    std::thread::sleep(Duration::from_millis(30));
    desk.read_clock();
    desk.look_after_due();
    assert_eq!(returns.recv().unwrap().reply.outcome, Outcome::Taken);
}

/// An eventfd that has been rung is as readable as the pidfd of a process that has ended.
#[test]
fn the_end_of_a_quick_worker_is_told() {
    let Office { mut desk, exits, .. } = office("imap-master".into(), None);
    let ended = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK).unwrap();
    let exited = Exited { slot: 3, generation: 5, session: 7 };
    desk.watch(ended.into(), exited);
    let mut events = [EpollEvent::empty(); 1];
    assert_eq!(desk.set.wait(&mut events, 1000u16.into()), Ok(1), "it is watched");
    desk.serve(What::of(&events[0]), events[0].events());
    assert_eq!(exits.try_recv(), Ok(exited));
}

/// A worker has said `+` to an engine that was killed, and ended: both is found out, once.
#[test]
fn an_heir_is_told_of_the_worker_that_took_its_client() {
    let (socket, mut worker) = UnixStream::pair().unwrap();
    mark(socket.as_fd(), 1).unwrap();
    worker.write_all(b"+\n").unwrap();
    let ended = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK).unwrap();
    let kept = Kept { socket: socket.into(), worker: Some(ended.into()) };
    let left = Left(Mutex::new(Some(kept)));
    let Office { mut desk, wakes, returns, exits } =
        office("imap-master".into(), Some(Arc::new(left)));
    wakes.send(wake(b"", true)).unwrap();
    desk.take_wakes();
    let returned = returns.try_recv().unwrap();
    assert_eq!((returned.reply.outcome, returned.kept), (Outcome::Taken, Some(0)));
    let mut events = [EpollEvent::empty(); 1];
    assert_eq!(desk.set.wait(&mut events, 1000u16.into()), Ok(1));
    desk.serve(What::of(&events[0]), events[0].events());
    assert_eq!(exits.try_recv(), Ok(Exited { slot: 1, generation: 1, session: 1 }));
    assert!(returns.try_recv().is_err() && desk.talks.is_empty());
}

fn wake(parcel: &[u8], is_resumed: bool) -> Wake<OwnedFd> {
    let (_mine, client) = UnixStream::pair().unwrap();
    Wake {
        slot: 1,
        generation: 1,
        session: 1,
        place: 0,
        attempt: 1,
        is_resumed,
        since_us: 0,
        parcel: parcel.to_vec(),
        client: client.into(),
    }
}
