//! Signals, taken by the main thread alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGHUP, SIGINT and SIGTERM as a descriptor. Threads started afterwards never see them.
pub struct Signals {
    signals: SignalFd,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Reload,
    Stop,
}

impl Signals {
    /// Blocks them for this thread and those it starts.
    pub fn block() -> io::Result<Self> {
        let set: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { signals: SignalFd::with_flags(&set, flags)? })
    }

    /// Waits for a signal, for `other` to become readable, or for the time to pass.
    pub fn wait(&self, other: Option<BorrowedFd<'_>>, wait_ms: u16) -> io::Result<Option<Asked>> {
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let other = other.unwrap_or(self.signals.as_fd());
        let mut fds = [signals, PollFd::new(other, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(wait_ms)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let signal = self.signals.read_signal()?;
        Ok(signal.map(|info| match Signal::try_from(info.ssi_signo as i32) {
            Ok(Signal::SIGHUP) => Asked::Reload,
            _ => Asked::Stop,
        }))
    }

    /// Waits until a folder is there. `false`: told to stop before.
    pub fn wait_for_dir(&self, dir: &Path) -> io::Result<bool> {
        let mut told = false;
        while !dir.is_dir() {
            if !told {
                tracing::info!("waiting for base_dir {}", dir.display());
                told = true;
            }
            if self.wait(None, DIR_WAIT_MS)? == Some(Asked::Stop) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const DIR_WAIT_MS: u16 = 200;
