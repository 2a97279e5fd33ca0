//! The watcher thread: calls about mailboxes that may block on a disk, away from the engine.
//!
//! A slow watcher means that hibernations take longer, a failing adoption that the notify
//! descriptor is kept; a dead watcher ends the engine, because nobody would hear of mail again.

mod adopter;
mod closer;
mod fdinfo;
mod homes;
mod marks;
mod mounts;
mod opener;
mod poller;
mod remote;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use nix::errno::Errno;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::unistd::write;

use crate::drive::Watcher;
use crate::watch::{Adopted, Adoption, MARKS_LOST, WatchEvent, WatchOrder};

use adopter::{Adopter, Heard};
pub use marks::Marks;
use opener::Opener;
use poller::{Beat, Poller};
use remote::Remote;

/// How mailboxes are heard.
#[derive(Default)]
pub struct Ways {
    /// The folder of all mail homes, if there is one: there, watches are adopted without
    /// privileges.
    pub homes: Option<PathBuf>,
    /// Filesystems that need no watches; the ring reads of them, too.
    pub marks: Option<Marks>,
    /// Mailboxes that other hosts write to are looked at once in this time; none: never.
    pub poll: Option<Duration>,
    /// Folders on filesystems that other hosts write to, beside those that are known to be such.
    pub poll_folders: Vec<PathBuf>,
}

/// The engine's end of the watcher thread.
pub struct ThreadWatcher {
    // What is in the channels is bounded by the core: an adoption per connection, a release or a
    // retirement per watch. Unbounded, because the engine must never wait for a disk.
    jobs: Sender<Job>,
    replies: Receiver<Answer>,
    news: Receiver<WatchEvent>,
    threads: Vec<JoinHandle<()>>,
}

impl ThreadWatcher {
    /// Starts the threads. Rings `doorbell` (an eventfd) after each reply, and when the watcher
    /// dies. Gives the shared inotify instance, for the ring to read.
    ///
    /// # Errors
    /// The limit of inotify instances is reached, or a folder is not there.
    pub fn start(doorbell: OwnedFd, ways: Ways) -> io::Result<(Self, OwnedFd)> {
        let shared = instance()?;
        let watch = shared.as_fd().try_clone_to_owned()?;
        let (jobs, orders) = unbounded();
        let (answers, replies) = unbounded();
        let (closing, condemned) = unbounded();
        let (tell, news) = unbounded();
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let mut threads = vec![spawn("torpor-close").spawn(move || closer::run(&condemned))?];
        let mut polling = None;
        if let Some(period) = ways.poll {
            let (beats, told) = unbounded();
            let bell = Bell(doorbell.try_clone()?);
            let poller = Poller::new(ways.homes.clone(), period, tell.clone(), bell);
            threads.push(spawn("torpor-poll").spawn(move || poller.run(&told))?);
            polling = Some(beats);
        }
        let remote = Remote::new(&ways.poll_folders)?;
        let adopter = Adopter::new(shared, ways.marks, remote, Opener::new(ways.homes));
        let (bell, looked) = (Bell(doorbell), Instant::now());
        let desk = Desk { adopter, closing, polling, answers, news: tell, looked, bell };
        threads.push(spawn("torpor-watch").spawn(move || desk.run(&orders))?);
        Ok((Self { jobs, replies, news, threads }, watch))
    }

    /// Lets all threads finish what they were told and waits for them.
    pub fn join(self) {
        let Self { jobs, replies: _replies, news: _news, threads } = self;
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

    fn watched(&mut self) -> Option<WatchEvent> {
        self.news.try_recv().ok()
    }
}

/// A new inotify instance.
fn instance() -> io::Result<Inotify> {
    match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
        Err(Errno::EMFILE) => Err(io::Error::other(
            "host: no inotify instance is left: raise fs.inotify.max_user_instances, or \
             RLIMIT_NOFILE",
        )),
        other => Ok(other?),
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
    polling: Option<Sender<Beat>>,
    answers: Sender<Answer>,
    news: Sender<WatchEvent>,
    /// When it was last looked whether marks are still there.
    looked: Instant,
    bell: Bell,
}

impl Desk {
    fn run(mut self, orders: &Receiver<Job>) {
        loop {
            let looks = self.adopter.opener.has_mounts() || self.adopter.marks.is_some();
            let next = match looks {
                true => orders.recv_timeout(LOOK),
                false => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => self.adopter.opener.forget_mounts(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_marks();
        }
    }

    fn work(&mut self, job: Job) {
        match (job.order, job.notify) {
            (WatchOrder::Adopt { slot, generation, since_us, .. }, Some(notify)) => {
                let since = SystemTime::UNIX_EPOCH + Duration::from_micros(since_us);
                let (outcome, kept) = self.adopt(notify, since);
                // An engine that is gone needs no reply.
                let _ = self.answers.send((Adopted { slot, generation, outcome }, kept));
                self.bell.ring();
            }
            (WatchOrder::Release { wd }, None) => {
                self.adopter.release(wd);
                self.poll(Beat::End { wd });
            }
            (WatchOrder::Retire { .. }, Some(notify)) => {
                adopter::strip(&notify);
                assert!(self.closing.send(notify).is_ok(), "the closing thread has died");
            }
            (order, notify) => unreachable!("{order:?} with {notify:?}"),
        }
    }

    /// What cannot be adopted comes back.
    fn adopt(&mut self, notify: OwnedFd, since: SystemTime) -> (Adoption, Option<OwnedFd>) {
        let Ok(heard) = self.adopter.adopt(&notify, since) else {
            return (Adoption::Kept, Some(notify));
        };
        let Heard { wds, changed, polled } = heard;
        for (wd, mark, seen) in polled {
            self.poll(Beat::Begin { wd, mark: Box::new(mark), seen });
        }
        // Closed before the reply and so before the last `+`: while the worker has its own copy
        // this costs 1 µs, afterwards 8 to 16 ms.
        drop(notify);
        (Adoption::Shared { wds, changed }, None)
    }

    fn poll(&self, beat: Beat) {
        if let Some(polling) = &self.polling {
            assert!(polling.send(beat).is_ok(), "the polling thread has died");
        }
    }

    /// An unmount ends a mark without a word: whoever slept on it must wake.
    fn look_at_marks(&mut self) {
        let Some(marks) = &mut self.adopter.marks else { return };
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        if !marks.look() {
            let _ = self.news.send(WatchEvent { wd: MARKS_LOST, mask: libc::IN_Q_OVERFLOW });
            self.bell.ring();
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

/// Between two looks at marks; and open mount points would keep an idle filesystem from being
/// unmounted.
const LOOK: Duration = Duration::from_secs(1);
