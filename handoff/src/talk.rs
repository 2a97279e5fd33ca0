//! One conversation with the sockets it needs: does what a `Step` says.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, recv, send, shutdown,
    socket,
};

use crate::delays::{Delays, wall_us};
use crate::keep::{Keep, Kept};
use crate::line::MASTER_VERSION;
use crate::master::{Conversation, Event, Found, Step, Timeouts};
use crate::message::{Returned, Wake};
use crate::outcome::{Cause, Outcome};
use crate::sys::fd::{mark, mark_of, peek_from_start, receive, send_with_fd, set_passpidfd};

/// How all conversations go.
pub(crate) struct Way {
    /// imap-master's socket.
    pub(crate) path: PathBuf,
    pub(crate) timeouts: Timeouts,
    /// None where nothing outlives the process.
    pub(crate) keep: Option<Arc<dyn Keep>>,
    pub(crate) delays: Arc<Delays>,
}

/// When a turn of the thread began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Since the thread was started.
    pub(crate) ms: u64,
    /// Of the wall clock.
    pub(crate) us: u64,
}

/// A client on its way to a worker.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) conversation: Conversation,
    pub(crate) wake: Wake<OwnedFd>,
    pub(crate) socket: OwnedFd,
    /// The worker's process, once it has greeted us and while it lives.
    pub(crate) worker: Option<OwnedFd>,
    /// When to look again, after a failure of our own that no event will announce the end of.
    pub(crate) retry_ms: Option<u64>,
    /// True exactly when the socket had no room, and nobody waits for any yet.
    pub(crate) is_full: bool,
    /// True exactly when the end of the worker's process is waited for.
    pub(crate) is_watched: bool,
    /// True exactly when its place keeps it: what the worker says stays in the socket.
    is_kept: bool,
    /// How long the wake has waited for us until it connected.
    delay_us: u64,
}

/// How far a socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// It has nothing more: what comes later is told anew. An end that is there already is not.
    Short,
    /// It says itself that it has nothing more, or that it has ended.
    End,
}

/// A client that could not even begin its way.
pub(crate) type NotBegun = Returned<OwnedFd>;

impl Talk {
    /// Connects, or goes on where an engine before us was killed. A failure of connect or of our
    /// own descriptors gives the client back, and so does a place that says that it was not sent.
    pub(crate) fn begin(wake: Wake<OwnedFd>, way: &Way, now: Turn) -> Result<Self, NotBegun> {
        if wake.is_resumed {
            return Self::resume(wake, way, now);
        }
        let mut conversation = Conversation::new(now.ms, &way.timeouts, wake.parcel.len());
        let delay_us = wall_us().saturating_sub(wake.since_us);
        match connected(&way.path) {
            Ok(socket) => Ok(Self { delay_us, ..Self::new(wake, conversation, socket, None) }),
            Err(errno) => {
                let step = conversation.on(Event::ConnectFailed(errno as i32), now.ms);
                let Step::Finish(outcome) = step else { panic!("no way on without a socket") };
                Err(Returned::new(wake, outcome, &[]))
            }
        }
    }

    /// The rules are in `master/heir.rs`.
    fn resume(wake: Wake<OwnedFd>, way: &Way, now: Turn) -> Result<Self, NotBegun> {
        let kept = way.keep.as_ref().and_then(|keep| keep.take(wake.place));
        let found = kept.as_ref().map(|Kept { socket, worker }| Found {
            attempt: mark_of(socket.as_fd()),
            has_pidfd: worker.is_some(),
        });
        let conversation = Conversation::resumed(now.ms, &way.timeouts, wake.attempt, found);
        let Some((conversation, Kept { socket, worker })) = conversation.zip(kept) else {
            let outcome = Outcome::Unsent(Cause::Host(Errno::ECANCELED as i32));
            return Err(Returned::new(wake, outcome, &[]));
        };
        // Half a request ends here. A worker that has hung up has heard all that it will.
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
        while let Err(errno) = peek_from_start(socket.as_fd()) {
            assert_eq!(errno, Errno::EINTR, "a socket of AF_UNIX has this option");
        }
        Ok(Self { is_kept: true, ..Self::new(wake, conversation, socket, worker) })
    }

    fn new(
        wake: Wake<OwnedFd>,
        conversation: Conversation,
        socket: OwnedFd,
        worker: Option<OwnedFd>,
    ) -> Self {
        Self {
            conversation,
            wake,
            socket,
            worker,
            retry_ms: None,
            is_full: false,
            is_watched: false,
            is_kept: false,
            delay_us: 0,
        }
    }

    /// Tells an event and does what follows from it, until there is nothing to do. Some when the
    /// conversation is over.
    pub(crate) fn on(&mut self, event: Event<'_>, way: &Way, now: Turn) -> Option<Outcome> {
        let mut step = self.conversation.on(event, now.ms);
        loop {
            let sent = match step {
                Step::Wait => return None,
                Step::Finish(outcome) => return Some(outcome),
                Step::ShutClient => {
                    // A client that has gone already is as good as shut.
                    let _ = shutdown(self.wake.client.as_raw_fd(), Shutdown::Both);
                    step = self.conversation.on(Event::ClientShut, now.ms);
                    continue;
                }
                Step::SendVersion { from } => self.send(&MASTER_VERSION[from..]),
                Step::SendFirst => self.send_first(way, now),
                Step::SendRest { from } => self.send(&self.wake.parcel[from..]),
            };
            step = match sent {
                Ok(count) => self.conversation.on(Event::Sent { count }, now.ms),
                Err(Errno::EINTR) => step,
                Err(Errno::EAGAIN) => {
                    self.is_full = true;
                    return None;
                }
                Err(errno) => {
                    self.retry_ms = Some(now.ms + RETRY_MS);
                    self.conversation.on(Event::SendFailed(errno as i32), now.ms)
                }
            };
        }
    }

    /// Reads until there is nothing left. Some when the conversation is over.
    pub(crate) fn read(&mut self, way: &Way, now: Turn, until: Until) -> Option<Outcome> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let event = match self.hear(&mut buffer) {
                Ok(0) => Event::Eof,
                Ok(count) => {
                    Event::Received { bytes: &buffer[..count], has_pidfd: self.worker.is_some() }
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return None,
                Err(errno) => {
                    self.retry_ms = Some(now.ms + RETRY_MS);
                    Event::ReceiveFailed(errno as i32)
                }
            };
            let is_last = match event {
                Event::Received { bytes, .. } => until == Until::Short && bytes.len() < READ_BYTES,
                _ => true,
            };
            let outcome = self.on(event, way, now);
            if outcome.is_some() || is_last {
                return outcome;
            }
        }
    }

    /// True exactly when the end of the worker's process is the next to be waited for.
    pub(crate) fn awaits_death(&self) -> bool {
        !self.is_watched && self.conversation.awaits_death()
    }

    /// What comes next; an answer is left where it is, for an heir.
    fn hear(&mut self, buffer: &mut [u8]) -> nix::Result<usize> {
        if self.is_kept {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
            return recv(self.socket.as_raw_fd(), buffer, flags);
        }
        let received = receive(self.socket.as_fd(), buffer)?;
        // Descriptors are nothing that a worker sends: dropped here, and so closed.
        if let Some(pidfd) = received.passed.pidfd {
            self.worker.get_or_insert(pidfd);
        }
        Ok(received.count)
    }

    /// The risky step: after it the client may be the worker's. So it is in its place before.
    fn send_first(&mut self, way: &Way, now: Turn) -> nix::Result<usize> {
        if let Some(keep) = way.keep.as_ref().filter(|_| !self.is_kept) {
            mark(self.socket.as_fd(), self.wake.attempt)?;
            peek_from_start(self.socket.as_fd())?;
            let worker = self.worker.as_ref().map(|worker| worker.as_fd());
            let put = keep.put(self.wake.place, self.socket.as_fd(), worker);
            put.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
            self.is_kept = true;
        }
        let delay_us = self.delay_us + wall_us().saturating_sub(now.us);
        // In one piece where it fits: each piece would wake the worker up.
        let Wake { parcel, client, .. } = &self.wake;
        let sent = send_with_fd(self.socket.as_fd(), parcel, client.as_fd())?;
        way.delays.add(delay_us);
        Ok(sent)
    }

    /// When something has to be done without an event.
    pub(crate) fn due_ms(&self) -> u64 {
        let deadline_ms = self.conversation.deadline_ms();
        self.retry_ms.map_or(deadline_ms, |retry_ms| retry_ms.min(deadline_ms))
    }

    /// The reply. Socket, pidfd and, if it is not ours any more, the client are closed here; what
    /// is kept of them stays in its place.
    pub(crate) fn end(self, outcome: Outcome) -> Returned<OwnedFd> {
        let reason = match outcome {
            Outcome::Refused => self.conversation.reason(),
            _ => &[],
        };
        let kept = self.is_kept.then_some(self.wake.place);
        Returned { kept, ..Returned::new(self.wake, outcome, reason) }
    }

    fn send(&self, bytes: &[u8]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.socket.as_raw_fd(), bytes, flags)
    }
}

/// A connected socket. On AF_UNIX connect never waits: EAGAIN is a full backlog.
fn connected(path: &Path) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Before connect, so that already the greeting names the worker. Kernels before 6.5 do not
    // know it; a hang-up alone decides there.
    let _ = set_passpidfd(socket.as_fd());
    let address = UnixAddr::new(path)?;
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Err(Errno::EINTR) => {}
            result => return result.map(|()| socket),
        }
    }
}

/// A greeting has 24 bytes, a refusal a line.
const READ_BYTES: usize = 2048;
/// How soon to try again after ENOBUFS, ENOMEM and the like.
const RETRY_MS: u64 = 10;
