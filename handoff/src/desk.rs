//! The handoff thread's inside: many conversations, one epoll set, no waiting on any of them.
//!
//! One turn: wait, serve what is ready, look after what is due, take new wakes, ring the doorbell
//! if a reply went out. Sockets are watched edge-triggered and read until they are empty, so
//! nothing that stays ready can make the loop spin.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use slab::Slab;

use crate::bell::answer;
use crate::master::Event;
use crate::message::{Exited, Returned, Wake};
use crate::outcome::{Cause, Outcome};
use crate::talk::{Talk, Way};
use crate::thread::Doorbell;
use crate::workers::Workers;

pub(crate) struct Channels {
    pub(crate) wakes: Receiver<Wake<OwnedFd>>,
    pub(crate) returns: Sender<Returned<OwnedFd>>,
    pub(crate) exits: Sender<Exited>,
}

pub(crate) struct Desk {
    way: Way,
    epoll: Epoll,
    bell: Arc<EventFd>,
    channels: Channels,
    /// Never more than may be in flight.
    talks: Slab<Talk>,
    room: usize,
    workers: Workers,
    /// Conversations that are due; kept for its allocation.
    due: Vec<usize>,
    start: Instant,
    /// True exactly when a reply went out since the doorbell was rung.
    has_replied: bool,
    /// True exactly until the engine has told us to stop.
    is_open: bool,
    /// Last, so that it rings when everything above is closed.
    doorbell: Doorbell,
}

impl Desk {
    pub(crate) fn new(
        way: Way,
        room: usize,
        workers: Workers,
        bell: Arc<EventFd>,
        channels: Channels,
        doorbell: Doorbell,
    ) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Self {
            way,
            epoll,
            bell,
            channels,
            talks: Slab::with_capacity(room),
            room,
            workers,
            due: Vec::with_capacity(room),
            start: Instant::now(),
            has_replied: false,
            is_open: true,
            doorbell,
        })
    }

    /// Until told to stop, and then until nothing is in flight.
    pub(crate) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        while self.is_open || !self.talks.is_empty() {
            let ready = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => &events[..count],
                Err(Errno::EINTR) => continue,
                Err(errno) => panic!("epoll_wait on our own set: {errno}"),
            };
            let mut is_rung = false;
            for event in ready {
                match event.data() {
                    BELL => is_rung = true,
                    data => self.serve(data, event.events()),
                }
            }
            self.look_after_due();
            if is_rung {
                let bell = Arc::clone(&self.bell);
                answer(&*bell, || self.take_wakes());
            }
            if std::mem::take(&mut self.has_replied) {
                self.doorbell.ring();
            }
        }
    }

    /// A socket or a worker's process has something to say. It may have ended earlier in this
    /// turn; its number is not given out again before the turn's end.
    fn serve(&mut self, data: u64, flags: EpollFlags) {
        let key = usize::try_from(data / KINDS).expect("it came from a usize");
        match data % KINDS {
            WORKER => {
                if self.read(key) {
                    self.talks[key].worker = None;
                    self.tell(key, Event::WorkerDead);
                }
                return;
            }
            TAKER => return self.taker_ended(key),
            _ => {}
        }
        let readable = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let goes_on = !flags.intersects(readable) || self.read(key);
        if goes_on && flags.contains(EpollFlags::EPOLLOUT) {
            self.tell(key, Event::Writable);
        }
    }

    /// Reads a conversation's socket empty. False when it is over.
    fn read(&mut self, key: usize) -> bool {
        let now_ms = self.now_ms();
        let Some(talk) = self.talks.get_mut(key) else { return false };
        let (outcome, has_worker) = talk.read(&self.way, now_ms);
        if let Some(outcome) = outcome {
            self.end(key, outcome);
            return false;
        }
        if has_worker {
            self.watch_worker(key);
        }
        true
    }

    fn watch_worker(&self, key: usize) {
        if let Some(worker) = &self.talks[key].worker {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            // Without room for it the proof fails to come, and the time limit stands in.
            let _ = self.epoll.add(worker.as_fd(), EpollEvent::new(flags, data(key, WORKER)));
        }
    }

    fn tell(&mut self, key: usize, event: Event<'_>) {
        let now_ms = self.now_ms();
        let Some(talk) = self.talks.get_mut(key) else { return };
        if let Some(outcome) = talk.on(event, &self.way, now_ms) {
            self.end(key, outcome);
        }
    }

    fn look_after_due(&mut self) {
        let now_ms = self.now_ms();
        let mut due = std::mem::take(&mut self.due);
        let is_due = |(key, talk): (usize, &Talk)| (talk.due_ms() <= now_ms).then_some(key);
        due.extend(self.talks.iter().filter_map(is_due));
        for key in due.drain(..) {
            self.talks[key].retry_ms = None;
            // A last look: an answer that is there already counts.
            if !self.read(key) {
                continue;
            }
            let is_late = self.talks[key].conversation.deadline_ms() <= now_ms;
            self.tell(key, if is_late { Event::Deadline } else { Event::Writable });
        }
        self.due = due;
    }

    fn take_wakes(&mut self) {
        loop {
            match self.channels.wakes.try_recv() {
                Ok(wake) => self.begin(wake),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        self.is_open = false;
        let keys: Vec<usize> = self.talks.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.tell(key, Event::Stop);
        }
    }

    fn begin(&mut self, wake: Wake<OwnedFd>) {
        assert!(self.talks.len() < self.room, "more wakes than may be in flight");
        let is_resumed = wake.is_resumed;
        let talk = match Talk::begin(wake, &self.way, self.now_ms()) {
            Ok(talk) => talk,
            Err(returned) => return self.reply(returned),
        };
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let key = self.talks.insert(talk);
        let watched = EpollEvent::new(flags, data(key, SOCKET));
        match self.epoll.add(self.talks[key].socket.as_fd(), watched) {
            Ok(()) if is_resumed => self.watch_worker(key),
            Ok(()) => self.tell(key, Event::Connected),
            Err(errno) => self.end(key, Outcome::Unsent(Cause::Host(errno as i32))),
        }
    }

    fn end(&mut self, key: usize, outcome: Outcome) {
        let mut talk = self.talks.remove(key);
        let worker = talk.worker.take().filter(|_| outcome == Outcome::Taken);
        let Wake { slot, generation, session, .. } = talk.wake;
        self.reply(talk.end(outcome));
        if let Some(pidfd) = worker {
            self.watch(pidfd, Exited { slot, generation, session });
        }
    }

    /// The worker has a client of ours: its end is the end of that session.
    fn watch(&mut self, pidfd: OwnedFd, exited: Exited) {
        let (place, pidfd) = self.workers.add(pidfd, exited);
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let mut watched = EpollEvent::new(flags, data(place, TAKER));
        let result = match self.epoll.modify(pidfd, &mut watched) {
            // A worker that was quick: greeting and `+` were found by one look at its socket.
            Err(Errno::ENOENT) => self.epoll.add(pidfd, watched),
            other => other,
        };
        if result.is_err() {
            // There was no room for it in the set, so it will not be told.
            self.workers.forget(place);
        }
    }

    fn taker_ended(&mut self, place: usize) {
        let Some(exited) = self.workers.ended(place) else { return };
        // An engine that is far behind counts by age: nothing waits for it here.
        let _ = self.channels.exits.try_send(exited);
        self.has_replied = true;
    }

    fn reply(&mut self, returned: Returned<OwnedFd>) {
        // The channel has room for all in flight. An engine that has gone needs no reply.
        let result = self.channels.returns.try_send(returned);
        assert!(!result.is_err_and(|error| error.is_full()), "more replies than wakes");
        self.has_replied = true;
    }

    /// Until the first conversation is due; without any, until the bell rings.
    fn timeout(&self) -> EpollTimeout {
        let Some(due_ms) = self.talks.iter().map(|(_, talk)| talk.due_ms()).min() else {
            return EpollTimeout::NONE;
        };
        let wait_ms = due_ms.saturating_sub(self.now_ms());
        EpollTimeout::from(u16::try_from(wait_ms).unwrap_or(u16::MAX))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("584 million years")
    }
}

/// What a descriptor of the set is, and whose.
fn data(key: usize, kind: u64) -> u64 {
    assert!(kind < KINDS);
    KINDS * key as u64 + kind
}

const BELL: u64 = u64::MAX;
/// A conversation's socket.
const SOCKET: u64 = 0;
/// The process on its other end.
const WORKER: u64 = 1;
/// The process of a worker that took a client.
const TAKER: u64 = 2;
const KINDS: u64 = 3;
const EVENTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
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
        let way = Way { path, timeouts, keep: None };
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
        desk.look_after_due();
        assert_eq!(returns.recv().unwrap().reply.outcome, Outcome::Taken);
    }

    /// A conversation that is over at its first reading has not put the pidfd into the set yet.
    /// An eventfd that has been rung is as readable as the pidfd of a process that has ended.
    #[test]
    fn the_end_of_a_quick_worker_is_told() {
        let Office { mut desk, exits, .. } = office("imap-master".into());
        let ended = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK).unwrap();
        let exited = Exited { slot: 3, generation: 5, session: 7 };
        desk.watch(ended.into(), exited);
        let mut events = [EpollEvent::empty(); 1];
        assert_eq!(desk.epoll.wait(&mut events, 1000u16), Ok(1), "it is watched");
        desk.serve(events[0].data(), events[0].events());
        assert_eq!(exits.try_recv(), Ok(exited));
    }
}
