//! The handoff thread's inside: many conversations, one epoll set, no waiting on any of them.
//!
//! One turn: wait, read the clock, serve what is ready, look after what is due, take new wakes.
//! Sockets are watched edge-triggered and read until they are empty, so nothing that stays ready
//! can make the loop spin. The doorbell is rung when replies went out and nothing more is ready, or
//! many have: an engine that is woken for each of them does little else than wake up.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use slab::Slab;

use crate::bell::answer;
use crate::delays::wall_us;
use crate::master::Event;
use crate::message::{Exited, Returned, Wake};
use crate::outcome::{Cause, Outcome};
use crate::set::{Set, What};
use crate::talk::{Talk, Turn, Until, Way};
use crate::thread::Doorbell;
use crate::workers::Workers;

pub(crate) struct Channels {
    pub(crate) wakes: Receiver<Wake<OwnedFd>>,
    pub(crate) returns: Sender<Returned<OwnedFd>>,
    pub(crate) exits: Sender<Exited>,
}

pub(crate) struct Desk {
    way: Way,
    set: Set,
    bell: Arc<EventFd>,
    channels: Channels,
    /// Never more than may be in flight.
    talks: Slab<Talk>,
    room: usize,
    workers: Workers,
    /// Conversations that are due; kept for its allocation.
    due: Vec<usize>,
    start: Instant,
    turn: Turn,
    /// Before this nothing is due.
    due_ms: u64,
    /// Replies that went out since the doorbell was rung.
    replied: usize,
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
        let set = Set::new()?;
        set.add(What::Bell, &*bell)?;
        Ok(Self {
            way,
            set,
            bell,
            channels,
            talks: Slab::with_capacity(room),
            room,
            workers,
            due: Vec::with_capacity(room),
            start: Instant::now(),
            turn: Turn::default(),
            due_ms: u64::MAX,
            replied: 0,
            is_open: true,
            doorbell,
        })
    }

    /// Until told to stop, and then until nothing is in flight.
    pub(crate) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        while self.is_open || !self.talks.is_empty() {
            let timeout = if self.replied > 0 { EpollTimeout::ZERO } else { self.timeout() };
            let ready = match self.set.wait(&mut events, timeout) {
                Ok(count) => &events[..count],
                Err(Errno::EINTR) => continue,
                Err(errno) => panic!("epoll_wait on our own set: {errno}"),
            };
            if self.replied > REPLIES_MAX || (self.replied > 0 && ready.is_empty()) {
                self.replied = 0;
                self.doorbell.ring();
            }
            self.read_clock();
            let mut is_rung = false;
            for event in ready {
                match What::of(event) {
                    What::Bell => is_rung = true,
                    what => self.serve(what, event.events()),
                }
            }
            self.look_after_due();
            if is_rung {
                let bell = Arc::clone(&self.bell);
                answer(&*bell, || self.take_wakes());
            }
        }
    }

    /// A socket or a worker's process has something to say. It may have ended earlier in this
    /// turn; its number is not given out again before the turn's end.
    fn serve(&mut self, what: What, flags: EpollFlags) {
        let key = match what {
            What::Socket(key) => key,
            What::Worker(key) => {
                if self.read(key) {
                    self.talks[key].worker = None;
                    self.tell(key, Event::WorkerDead);
                }
                return;
            }
            What::Taker(place) => return self.taker_ended(place),
            What::Bell => unreachable!("it is looked after at the end of a turn"),
        };
        // An end that came together with bytes is told this once.
        let end = EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLERR;
        let goes_on = !flags.intersects(end | EpollFlags::EPOLLIN)
            || self.read_until(key, if flags.intersects(end) { Until::End } else { Until::Short });
        if goes_on && flags.contains(EpollFlags::EPOLLOUT) {
            self.tell(key, Event::Writable);
        }
    }

    /// Reads a conversation's socket empty. False when it is over.
    fn read(&mut self, key: usize) -> bool {
        self.read_until(key, Until::End)
    }

    fn read_until(&mut self, key: usize, until: Until) -> bool {
        let Some(talk) = self.talks.get_mut(key) else { return false };
        let outcome = talk.read(&self.way, self.turn, until);
        self.follow(key, outcome)
    }

    fn tell(&mut self, key: usize, event: Event<'_>) {
        let Some(talk) = self.talks.get_mut(key) else { return };
        let outcome = talk.on(event, &self.way, self.turn);
        self.follow(key, outcome);
    }

    /// What a conversation asks for after an event. False when it is over.
    fn follow(&mut self, key: usize, outcome: Option<Outcome>) -> bool {
        if let Some(outcome) = outcome {
            self.end(key, outcome);
            return false;
        }
        let talk = &mut self.talks[key];
        self.due_ms = self.due_ms.min(talk.due_ms());
        if std::mem::take(&mut talk.is_full) {
            // It is in the set already, so nothing is needed for the change.
            let _ = self.set.want_room(What::Socket(key), &talk.socket);
        }
        if talk.awaits_death()
            && let Some(worker) = &talk.worker
        {
            talk.is_watched = true;
            // Without room for it the proof fails to come, and the time limit stands in.
            let _ = self.set.add(What::Worker(key), worker);
        }
        true
    }

    fn look_after_due(&mut self) {
        let now_ms = self.turn.ms;
        if now_ms < self.due_ms {
            return;
        }
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
        self.due_ms = self.talks.iter().map(|(_, talk)| talk.due_ms()).min().unwrap_or(u64::MAX);
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
        let talk = match Talk::begin(wake, &self.way, self.turn) {
            Ok(talk) => talk,
            Err(returned) => return self.reply(returned),
        };
        let key = self.talks.insert(talk);
        match self.set.add(What::Socket(key), &self.talks[key].socket) {
            Ok(()) if is_resumed => drop(self.read(key)),
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
        if self.set.add(What::Taker(place), pidfd).is_err() {
            // There was no room for it in the set, so it will not be told.
            self.workers.forget(place);
        }
    }

    fn taker_ended(&mut self, place: usize) {
        let Some(exited) = self.workers.ended(place) else { return };
        // An engine that is far behind counts by age: nothing waits for it here.
        let _ = self.channels.exits.try_send(exited);
        self.replied += 1;
    }

    fn reply(&mut self, returned: Returned<OwnedFd>) {
        // The channel has room for all in flight. An engine that has gone needs no reply.
        let result = self.channels.returns.try_send(returned);
        assert!(!result.is_err_and(|error| error.is_full()), "more replies than wakes");
        self.replied += 1;
    }

    /// Until the first conversation is due; without any, until the bell rings.
    fn timeout(&self) -> EpollTimeout {
        if self.talks.is_empty() {
            return EpollTimeout::NONE;
        }
        // The turn has taken no time worth another look at the clock: what is due is a moment late.
        let wait_ms = self.due_ms.saturating_sub(self.turn.ms);
        EpollTimeout::from(u16::try_from(wait_ms).unwrap_or(u16::MAX))
    }

    fn read_clock(&mut self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).expect("584 million years");
        self.turn = Turn { ms, us: wall_us() };
    }
}

const EVENTS_MAX: usize = 64;
/// Replies that wait for more of them.
const REPLIES_MAX: usize = 16;

#[cfg(test)]
mod tests;
