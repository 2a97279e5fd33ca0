//! One conversation with the sockets it needs: does what a `Step` says.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, send, shutdown,
    socket,
};

use crate::line::MASTER_VERSION;
use crate::master::{Conversation, Event, Step, Timeouts};
use crate::message::{Returned, Wake};
use crate::outcome::Outcome;
use crate::sys::fd::{receive, send_with_fd, set_passpidfd};

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
}

/// A client that could not even begin its way.
pub(crate) type NotBegun = Returned<OwnedFd>;

impl Talk {
    /// Connects. A failure of connect or of our own descriptors gives the client back.
    pub(crate) fn begin(
        wake: Wake<OwnedFd>,
        path: &Path,
        timeouts: &Timeouts,
        now_ms: u64,
    ) -> Result<Self, NotBegun> {
        let mut conversation = Conversation::new(now_ms, timeouts, wake.parcel.len());
        match connected(path) {
            Ok(socket) => Ok(Self { conversation, wake, socket, worker: None, retry_ms: None }),
            Err(errno) => {
                let step = conversation.on(Event::ConnectFailed(errno as i32), now_ms);
                let Step::Finish(outcome) = step else { panic!("no way on without a socket") };
                Err(Returned::new(wake, outcome, &[]))
            }
        }
    }

    /// Tells an event and does what follows from it, until there is nothing to do. Some when the
    /// conversation is over.
    pub(crate) fn on(&mut self, event: Event<'_>, now_ms: u64) -> Option<Outcome> {
        let mut step = self.conversation.on(event, now_ms);
        loop {
            let sent = match step {
                Step::Wait => return None,
                Step::Finish(outcome) => return Some(outcome),
                Step::ShutClient => {
                    // A client that has gone already is as good as shut.
                    let _ = shutdown(self.wake.client.as_raw_fd(), Shutdown::Both);
                    step = self.conversation.on(Event::ClientShut, now_ms);
                    continue;
                }
                Step::SendVersion { from } => self.send(&MASTER_VERSION[from..]),
                Step::SendFirst => send_with_fd(
                    self.socket.as_fd(),
                    &self.wake.parcel[..1],
                    self.wake.client.as_fd(),
                ),
                Step::SendRest { from } => self.send(&self.wake.parcel[from..]),
            };
            step = match sent {
                Ok(count) => self.conversation.on(Event::Sent { count }, now_ms),
                Err(Errno::EINTR) => step,
                Err(Errno::EAGAIN) => return None,
                Err(errno) => {
                    self.retry_ms = Some(now_ms + RETRY_MS);
                    self.conversation.on(Event::SendFailed(errno as i32), now_ms)
                }
            };
        }
    }

    /// Reads until there is nothing left. Some when the conversation is over. The flag is true
    /// when a pidfd came that has to be watched.
    pub(crate) fn read(&mut self, now_ms: u64) -> (Option<Outcome>, bool) {
        let mut buffer = [0; READ_BYTES];
        let mut has_worker = false;
        loop {
            let event = match receive(self.socket.as_fd(), &mut buffer) {
                Ok(received) if received.count == 0 => Event::Eof,
                Ok(received) => {
                    // Descriptors are nothing that a worker sends: dropped here, and so closed.
                    if let Some(pidfd) = received.passed.pidfd
                        && self.worker.is_none()
                    {
                        self.worker = Some(pidfd);
                        has_worker = true;
                    }
                    let has_pidfd = self.worker.is_some();
                    Event::Received { bytes: &buffer[..received.count], has_pidfd }
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return (None, has_worker),
                Err(errno) => Event::ReceiveFailed(errno as i32),
            };
            let is_last = matches!(event, Event::Eof | Event::ReceiveFailed(_));
            if let Event::ReceiveFailed(_) = event {
                self.retry_ms = Some(now_ms + RETRY_MS);
            }
            let outcome = self.on(event, now_ms);
            if outcome.is_some() || is_last {
                return (outcome, has_worker);
            }
        }
    }

    /// When something has to be done without an event.
    pub(crate) fn due_ms(&self) -> u64 {
        let deadline_ms = self.conversation.deadline_ms();
        self.retry_ms.map_or(deadline_ms, |retry_ms| retry_ms.min(deadline_ms))
    }

    /// The reply. Socket, pidfd and, if it is not ours any more, the client are closed here.
    pub(crate) fn end(self, outcome: Outcome) -> Returned<OwnedFd> {
        let reason = match outcome {
            Outcome::Refused => self.conversation.reason(),
            _ => &[],
        };
        Returned::new(self.wake, outcome, reason)
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
