//! The handoff thread, seen from the engine: wakes in, replies out, one ring of the doorbell.
//!
//! ```text
//!  engine thread                      handoff thread
//!    send, flush ── wakes, bell ──────► Desk ◄──── epoll ────► imap-master, workers
//!    returned ◄── returns, doorbell ─────┘
//! ```
//! Neither side ever blocks on the other: both channels hold as many as may be in flight, and
//! `send` does not take more than that before their replies were fetched.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::bell::{Bell as _, announce};
use crate::delays::{Delayed, Delays};
use crate::desk::{Channels, Desk};
use crate::keep::Keep;
use crate::master::Timeouts;
use crate::message::{Exited, Returned, Wake};
use crate::talk::Way;
use crate::workers::Workers;

/// What the thread has to know.
#[derive(Clone, Debug)]
pub struct HandoffConfig {
    /// Dovecot's `base_dir/imap-master`, or the built-in worker's socket.
    pub master_path: PathBuf,
    /// Conversations at once; wakes that were sent and whose replies were not fetched count too.
    pub in_flight_max: u32,
    /// Workers watched after they took a client; each costs a descriptor.
    pub workers_watched_max: u32,
    /// How long to wait for a worker's VERSION line.
    pub version_timeout_ms: u64,
    /// How long to wait for its answer before the client is shut down.
    pub ack_timeout_ms: u64,
}

/// The handoff thread. Dropping it stops and joins it.
pub struct Handoff {
    /// None exactly when the thread was told to stop.
    wakes: Option<Sender<Wake<OwnedFd>>>,
    returns: Receiver<Returned<OwnedFd>>,
    exits: Receiver<Exited>,
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    /// True exactly when wakes were put out since the bell was rung.
    has_sent: bool,
    /// Wakes whose replies were not fetched.
    in_flight: u32,
    in_flight_max: u32,
    delays: Arc<Delays>,
    keep: Option<Arc<dyn Keep>>,
    /// Places of replies that were fetched and, as far as we know, not committed.
    kept: Vec<u32>,
}

impl Handoff {
    /// Starts the thread. `keep` outlives this process, where anything does. `doorbell` is an
    /// eventfd, rung once after replies were put out, and once more when the thread ends. Fails
    /// only for want of descriptors, memory or threads (host).
    pub fn start(
        config: HandoffConfig,
        keep: Option<Arc<dyn Keep>>,
        doorbell: OwnedFd,
    ) -> io::Result<Self> {
        assert!(config.in_flight_max > 0, "handoffs_in_flight_max is at least 1");
        assert!(config.workers_watched_max > 0, "at least one worker is watched");
        let room = config.in_flight_max as usize;
        let (wakes, wakes_out) = bounded(room);
        let (returns_in, returns) = bounded(room);
        let watched = config.workers_watched_max as usize;
        let (exits_in, exits) = bounded(watched);
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let bell = Arc::new(EventFd::from_flags(flags)?);
        let in_flight_max = config.in_flight_max;
        let timeouts = Timeouts {
            version_ms: config.version_timeout_ms,
            ack_ms: config.ack_timeout_ms,
            exit_ms: EXIT_TIMEOUT_MS,
        };
        let doorbell = Doorbell::new(doorbell);
        let channels = Channels { wakes: wakes_out, returns: returns_in, exits: exits_in };
        let workers = Workers::new(watched);
        let (path, delays) = (config.master_path, Arc::new(Delays::default()));
        let way = Way { path, timeouts, keep: keep.clone(), delays: Arc::clone(&delays) };
        let desk = Desk::new(way, room, workers, Arc::clone(&bell), channels, doorbell)?;
        let thread = Builder::new().name("torpor-handoff".into()).spawn(move || desk.run())?;
        let (wakes, thread) = (Some(wakes), Some(thread));
        Ok(Self {
            wakes,
            returns,
            exits,
            bell,
            thread,
            has_sent: false,
            in_flight: 0,
            in_flight_max,
            delays,
            keep,
            kept: Vec::with_capacity(room),
        })
    }

    /// Gives a client to the thread, with the next [`Handoff::flush`]. It comes back if as many are
    /// in flight as may be, or if the thread has ended.
    pub fn send(&mut self, wake: Wake<OwnedFd>) -> Result<(), Wake<OwnedFd>> {
        let Some(wakes) = self.wakes.as_ref().filter(|_| self.in_flight < self.in_flight_max)
        else {
            return Err(wake);
        };
        wakes.try_send(wake).map_err(crossbeam_channel::TrySendError::into_inner)?;
        self.has_sent = true;
        self.in_flight += 1;
        assert!(self.in_flight <= self.in_flight_max);
        Ok(())
    }

    /// Wakes the thread up for what was sent. Once for many: a thread that is woken at the first of
    /// them would have to be woken again for the next.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.has_sent) {
            self.bell.ring();
        }
    }

    /// The next reply.
    pub fn returned(&mut self) -> Option<Returned<OwnedFd>> {
        let returned = self.returns.try_recv().ok()?;
        assert!(self.in_flight > 0, "a reply to a wake that was never sent");
        assert_eq!(returned.client.is_some(), returned.reply.outcome.is_ours());
        self.in_flight -= 1;
        self.kept.extend(returned.kept);
        Some(returned)
    }

    /// The replies fetched so far are committed: no heir will ask what became of them, and their
    /// places are emptied.
    pub fn applied(&mut self) {
        for place in self.kept.drain(..) {
            let keep = self.keep.as_ref().expect("something keeps what is kept");
            keep.clear(place);
        }
    }

    /// The next worker that has ended after it took a client. Told after the reply of its wake:
    /// whoever fetches this first and the replies then has the reply too.
    pub fn exited(&mut self) -> Option<Exited> {
        self.exits.try_recv().ok()
    }

    /// How long wakes have waited for us.
    pub fn delayed(&self) -> Delayed {
        self.delays.load()
    }

    /// Wakes whose replies were not fetched.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// False when the thread has ended. Without `stop` that is a defect of ours: the descriptors
    /// it had are closed then, and only the vault still holds the clients.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the thread: what was not sent comes back at once (ECANCELED), what was sent is waited
    /// for, at most `ack_timeout_ms`. Then `returned` yields all that is left.
    pub fn stop(&mut self) {
        announce(&*self.bell, || self.wakes = None);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened; there is nothing to add to it.
            let _ = thread.join();
        }
        assert!(!self.is_running());
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The engine's eventfd. Rings once more when it is dropped, so that the engine wakes up and
/// sees that the thread has ended, whatever the reason.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(crate) fn new(eventfd: OwnedFd) -> Self {
        Self(eventfd)
    }

    pub(crate) fn ring(&self) {
        // Only a full counter can fail, and then it rings already.
        let _ = nix::unistd::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// A worker that hangs up ends its process at once; this is for one that takes its time.
const EXIT_TIMEOUT_MS: u64 = 1000;
