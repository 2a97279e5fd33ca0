//! A process that the keeper looks after: its child, or one that a keeper before it has started.

use std::fmt::{self, Display};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{Command, ExitStatus};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use rustix::process::{self, PidfdFlags, PidfdGetfdFlags};
use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use super::offspring::Offspring;
use crate::luggage::Luggage;

/// One of either kind.
pub enum Charge {
    Child(Offspring),
    /// Nobody's child that we know of. It is known by its pidfd, since its pid may be another's.
    Found {
        pid: u32,
        process: OwnedFd,
    },
}

/// How one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Status(ExitStatus),
    /// Its status went to its parent.
    Unseen,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pid: u32,
    /// Of one that was found.
    process: Option<RawFd>,
}

impl Charge {
    /// # Errors
    /// No process could be made, or the program cannot be executed.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Offspring::spawn(command).map(Self::Child)
    }

    /// The process that has this pid now.
    ///
    /// # Errors
    /// There is none.
    pub fn found(pid: u32) -> io::Result<Self> {
        let number = process::Pid::from_raw(pid as i32).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self::Found { pid, process: process::pidfd_open(number, PidfdFlags::empty())? })
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        match self {
            Self::Child(child) => Note { pid: child.pid(), process: None },
            Self::Found { pid, process } => {
                Note { pid: *pid, process: Some(luggage.pack(process)) }
            }
        }
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// The pidfd is not open.
    pub fn unpack(note: Note) -> io::Result<Self> {
        let Note { pid, process } = note;
        match process {
            None => Ok(Self::Child(Offspring::of(pid))),
            Some(number) => Ok(Self::Found { pid, process: inherited(number)? }),
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Child(child) => child.pid(),
            Self::Found { pid, .. } => *pid,
        }
    }

    pub fn is_child(&self) -> bool {
        matches!(self, Self::Child(_))
    }

    /// Nothing happens to one that has ended.
    pub fn signal(&self, signal: Signal) {
        match self {
            Self::Child(child) => child.signal(signal),
            Self::Found { process, .. } => {
                let signal = process::Signal::from_named_raw(signal as i32);
                let signal = signal.expect("Linux has all that nix knows");
                let _ = process::pidfd_send_signal(process, signal);
            }
        }
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Option<End> {
        match self {
            Self::Child(child) => child.ended().map(End::Status),
            Self::Found { process, .. } => is_readable(process.as_fd()).then_some(End::Unseen),
        }
    }

    /// A copy of a descriptor of one that was found (pidfd_getfd(2)).
    ///
    /// # Errors
    /// EBADF: it has none of this number, or has ended. EPERM: it is not ours to look into.
    pub fn descriptor(&self, number: RawFd) -> io::Result<OwnedFd> {
        let Self::Found { process, .. } = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        Ok(process::pidfd_getfd(process, number, PidfdGetfdFlags::empty())?)
    }
}

impl End {
    /// False exactly when it is known to have failed.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Status(status) => status.success(),
            Self::Unseen => true,
        }
    }
}

impl Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(out),
            Self::Unseen => "its status went to another parent".fmt(out),
        }
    }
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(descriptor, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}
