//! Signals, taken by the main thread alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals as a descriptor. Threads started afterwards never see them.
pub struct Signals {
    signals: SignalFd,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A child has ended.
    Look,
    Reload,
    Stop,
}

impl Signals {
    /// Blocks them for this thread and those it starts.
    pub fn block() -> io::Result<Self> {
        let signals = [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
        let set: SigSet = signals.into_iter().collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { signals: SignalFd::with_flags(&set, flags)? })
    }

    /// Waits for a signal, for one of `others` to become readable, or for the time to pass.
    pub fn wait(&self, others: &[BorrowedFd<'_>], wait_ms: u16) -> io::Result<Option<Asked>> {
        let signals = self.signals.as_fd();
        let all = [signals].into_iter().chain(others.iter().copied());
        let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::from(wait_ms)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let signal = self.signals.read_signal()?;
        Ok(signal.map(|info| match Signal::try_from(info.ssi_signo as i32) {
            Ok(Signal::SIGCHLD) => Asked::Look,
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
            if self.wait(&[], DIR_WAIT_MS)? == Some(Asked::Stop) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const DIR_WAIT_MS: u16 = 200;
