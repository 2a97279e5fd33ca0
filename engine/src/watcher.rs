//! The watcher thread: calls about mailboxes that may block on a disk, away from the engine.
//!
//! A slow watcher means that hibernations take longer, a failing adoption that the notify
//! descriptor is kept; a dead watcher ends the engine, because nobody would hear of mail again.

mod adopter;
mod closer;
mod fdinfo;
mod homes;
mod mounts;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use nix::sys::inotify::{InitFlags, Inotify};
use nix::unistd::write;

use crate::drive::Watcher;
use crate::watch::{Adopted, Adoption, WatchOrder};

use adopter::Adopter;

/// The engine's end of the watcher thread.
pub struct ThreadWatcher {
    // What is in the channel is bounded by the core: an adoption per connection, a release or a
    // retirement per watch. Unbounded, because the engine must never wait for a disk.
    jobs: Sender<Job>,
    replies: Receiver<Answer>,
    threads: [JoinHandle<()>; 2],
}

impl ThreadWatcher {
    /// Starts the threads. Rings `doorbell` (an eventfd) after each reply, and when the watcher
    /// dies. Gives the shared inotify instance, for the ring to read. `homes` is the folder of all
    /// mail homes, if there is one: there, watches are adopted without privileges.
    pub fn start(doorbell: OwnedFd, homes: Option<PathBuf>) -> io::Result<(Self, OwnedFd)> {
        let shared = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let watch = shared.as_fd().try_clone_to_owned()?;
        let (jobs, orders) = unbounded();
        let (answers, replies) = unbounded();
        let (closing, condemned) = unbounded();
        let adopter = Adopter::new(shared, homes);
        let desk = Desk { adopter, closing, answers, bell: Bell(doorbell) };
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let watcher = spawn("torpor-watch").spawn(move || desk.run(&orders))?;
        let closer = spawn("torpor-close").spawn(move || closer::run(&condemned))?;
        Ok((Self { jobs, replies, threads: [watcher, closer] }, watch))
    }

    /// Lets both threads finish what they were told and waits for them.
    pub fn join(self) {
        let Self { jobs, replies: _replies, threads } = self;
        drop(jobs);
        for thread in threads {
            assert!(thread.join().is_ok(), "a thread of the watcher has panicked");
        }
    }
}

impl Watcher for ThreadWatcher {
    type Descriptor = OwnedFd;

    fn order(&mut self, order: WatchOrder, notify: Option<OwnedFd>) {
        let job = Job { order, notify };
        assert!(self.jobs.send(job).is_ok(), "the watcher thread has died");
    }

    fn adopted(&mut self) -> Option<Answer> {
        match self.replies.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the watcher thread has died"),
        }
    }
}

type Answer = (Adopted, Option<OwnedFd>);

struct Job {
    order: WatchOrder,
    notify: Option<OwnedFd>,
}

/// The watcher thread's own end. Its fields are dropped in this order: whoever is woken by the
/// last ring finds the channel closed.
struct Desk {
    adopter: Adopter,
    closing: Sender<OwnedFd>,
    answers: Sender<Answer>,
    bell: Bell,
}

impl Desk {
    fn run(mut self, orders: &Receiver<Job>) {
        loop {
            let next = match self.adopter.has_mounts() {
                true => orders.recv_timeout(MOUNTS_IDLE),
                false => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => self.adopter.forget_mounts(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn work(&mut self, job: Job) {
        match (job.order, job.notify) {
            (WatchOrder::Adopt { slot, generation, since_us, .. }, Some(notify)) => {
                let since = SystemTime::UNIX_EPOCH + Duration::from_micros(since_us);
                let (outcome, kept) = match self.adopter.adopt(&notify, since) {
                    // Closed before the reply and so before the last `+`: while the worker has
                    // its own copy this costs 1 µs, afterwards 8 to 16 ms.
                    Ok((wds, changed)) => {
                        drop(notify);
                        (Adoption::Shared { wds, changed }, None)
                    }
                    Err(_) => (Adoption::Kept, Some(notify)),
                };
                // An engine that is gone needs no reply.
                let _ = self.answers.send((Adopted { slot, generation, outcome }, kept));
                self.bell.ring();
            }
            (WatchOrder::Release { wd }, None) => self.adopter.release(wd),
            (WatchOrder::Retire { .. }, Some(notify)) => {
                adopter::strip(&notify);
                assert!(self.closing.send(notify).is_ok(), "the closing thread has died");
            }
            (order, notify) => unreachable!("{order:?} with {notify:?}"),
        }
    }
}

/// Wakes the engine.
struct Bell(OwnedFd);

impl Bell {
    fn ring(&self) {
        // EAGAIN: the counter is full, so the engine is being woken already.
        let _ = write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// Open mount points would keep an idle filesystem from being unmounted.
const MOUNTS_IDLE: Duration = Duration::from_secs(1);
