//! The engine's end of its watcher, which is a process of its own and may be killed at any time.
//!
//! Between the two stands a thread (`postman.rs`), so that the engine thread neither waits for a
//! process nor has to believe it.

use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{InitFlags, Inotify};
use nix::unistd::write;

use crate::drive::Watcher;
use crate::limits::Limits;
use crate::watch::{Adopted, WatchEvent, WatchOrder};

use super::marks::Marks;
use super::outbox::{Outbox, outbox};
use super::postman::{Errands, Postman};

/// Takes orders for the watcher and brings its replies.
pub struct Post {
    jobs: Outbox<Job>,
    replies: Receiver<Answer>,
    news: Receiver<WatchEvent>,
    connections: Connections,
    thread: JoinHandle<()>,
    /// True exactly when orders were given since the thread was rung for.
    has_given: bool,
}

/// Gives the engine a watcher, the first one or another.
#[derive(Clone)]
pub struct Connections {
    sockets: Sender<OwnedFd>,
    wake: Arc<EventFd>,
}

pub type Answer = (Adopted, Option<OwnedFd>);

pub struct Job {
    pub order: WatchOrder,
    pub notify: Option<OwnedFd>,
}

impl Post {
    /// Starts the thread; there is no watcher yet. Watches go on the `shared` instance, which the
    /// ring reads. Rings `doorbell` (an eventfd) after each reply, and `tell`s of a watcher that is
    /// not to be believed.
    ///
    /// # Errors
    /// The host has no thread or no descriptors left.
    pub fn start(
        limits: &Limits,
        doorbell: OwnedFd,
        shared: OwnedFd,
        marks: Option<Marks>,
        tell: fn(&str),
    ) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (jobs, orders) = outbox(limits);
        // The thread may wait for room in these two; the engine never waits for the thread.
        let (answers, replies) = bounded(ANSWERS_MAX);
        let (tell_news, news) = bounded(NEWS_MAX);
        let (sockets, connections) = unbounded();
        let errands =
            Errands { orders, connections, answers, news: tell_news, bell: Bell(doorbell) };
        let postman = Postman::new(shared, marks, errands, Arc::clone(&wake), tell);
        let builder = thread::Builder::new().name("torpor-watch".into());
        let thread = builder.spawn(move || postman.run())?;
        let connections = Connections { sockets, wake };
        Ok(Self { jobs, replies, news, connections, thread, has_given: false })
    }

    /// Where watchers are given to it.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// Lets the watcher hear what it was told, and waits for the thread.
    pub fn join(self) {
        let Self { mut jobs, replies, news, connections, thread, .. } = self;
        // Nobody hears it any more: a thread that waits for room to say something would wait for
        // ever.
        drop((replies, news));
        while jobs.go_on().is_ok() && jobs.is_behind() {
            connections.ring();
            thread::sleep(Duration::from_millis(1));
        }
        drop(jobs);
        connections.ring();
        assert!(thread.join().is_ok(), "the thread to the watcher has panicked");
    }
}

impl Watcher for Post {
    type Descriptor = OwnedFd;

    fn order(&mut self, order: WatchOrder, notify: Option<OwnedFd>) {
        let given = self.jobs.give(Job { order, notify });
        given.expect("the thread to the watcher has died");
        self.has_given = true;
    }

    fn flush(&mut self) {
        if mem::take(&mut self.has_given) {
            self.connections.ring();
        }
    }

    fn adopted(&mut self) -> Option<Answer> {
        // The thread rings, once it has room again.
        if self.jobs.is_behind() {
            self.jobs.go_on().expect("the thread to the watcher has died");
            self.connections.ring();
        }
        match self.replies.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the thread to the watcher has died"),
        }
    }

    fn watched(&mut self) -> Option<WatchEvent> {
        self.news.try_recv().ok()
    }
}

impl Connections {
    /// A watcher serves at the other end of `socket` (AF_UNIX, SOCK_SEQPACKET). It gets all orders
    /// that the one before it may not have carried out.
    pub fn take(&self, socket: OwnedFd) {
        // An engine that is ending needs none.
        let _ = self.sockets.send(socket);
        self.ring();
    }

    fn ring(&self) {
        // EAGAIN: the counter is full, so the thread is being woken already.
        let _ = self.wake.write(1);
    }
}

/// A new inotify instance for an engine and its heirs to share.
///
/// # Errors
/// The limit of inotify instances is reached.
pub fn instance() -> io::Result<OwnedFd> {
    match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
        Err(Errno::EMFILE) => Err(io::Error::other(
            "host: no inotify instance is left: raise fs.inotify.max_user_instances, or \
             RLIMIT_NOFILE",
        )),
        other => Ok(other?.into()),
    }
}

/// Wakes the engine.
pub struct Bell(OwnedFd);

impl Bell {
    pub fn ring(&self) {
        // EAGAIN: the counter is full, so the engine is being woken already.
        let _ = write(self.0.as_fd(), &1u64.to_ne_bytes());
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// Changes that the engine has not heard of yet; more of them wait with the watcher.
const NEWS_MAX: usize = 4096;
/// The same of replies.
const ANSWERS_MAX: usize = 256;
