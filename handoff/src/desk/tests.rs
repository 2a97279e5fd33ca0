//! What only the inside shows.

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::bounded;
use nix::sys::eventfd::EfdFlags;

use super::*;
use crate::line::MASTER_VERSION;
use crate::master::Timeouts;

/// A desk on `path` with room for one conversation, and what it tells.
struct Office {
    desk: Desk,
    wakes: Sender<Wake<OwnedFd>>,
    returns: Receiver<Returned<OwnedFd>>,
    exits: Receiver<Exited>,
}

fn office(path: PathBuf) -> Office {
    let eventfd = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let ((wakes_in, wakes), (returns, returns_out)) = (bounded(1), bounded(1));
    let (exits, exits_out) = bounded(1);
    let channels = Channels { wakes, returns, exits };
    let timeouts = Timeouts { version_ms: 10_000, ack_ms: 20, exit_ms: 20 };
    let way = Way { path, timeouts, keep: None, delays: Arc::default() };
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
    let Office { mut desk, wakes, returns, .. } = office(path);
    let (_mine, client) = UnixStream::pair().unwrap();
    let parcel = b"u1\ttag=a1\n".to_vec();
    let wake = Wake {
        slot: 1,
        generation: 1,
        session: 1,
        place: 0,
        attempt: 1,
        is_resumed: false,
        since_us: 0,
        parcel,
        client: client.into(),
    };
    wakes.send(wake).unwrap();
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
    let Office { mut desk, exits, .. } = office("imap-master".into());
    let ended = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK).unwrap();
    let exited = Exited { slot: 3, generation: 5, session: 7 };
    desk.watch(ended.into(), exited);
    let mut events = [EpollEvent::empty(); 1];
    assert_eq!(desk.set.wait(&mut events, 1000u16.into()), Ok(1), "it is watched");
    desk.serve(What::of(&events[0]), events[0].events());
    assert_eq!(exits.try_recv(), Ok(exited));
}
