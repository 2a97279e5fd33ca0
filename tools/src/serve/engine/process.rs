//! The process of an engine: what it was started from, and what it has said.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use crate::engine::SUBCOMMAND;
use crate::estate::{Estate, Inventory};
use crate::link::{Link, Message};
use crate::luggage::Luggage;
use crate::serve::binary::Binary;
use crate::serve::offspring::Offspring;

/// One that runs, or has ended and was not waited for.
pub struct Process {
    child: Offspring,
    pub link: Link,
    /// Which program it is: see [`Binary::serial`].
    pub serial: u32,
    /// When it last said that its engine thread answers; none: it does not serve yet.
    pub heard: Option<Instant>,
    /// True exactly when it was logged that it does not.
    pub complained: bool,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pid: u32,
    link: RawFd,
    serial: u32,
    serves: bool,
}

impl Process {
    /// Starts the engine of this number, with an estate, and nothing said to it yet.
    ///
    /// # Errors
    /// No process could be made, or no descriptors are left.
    pub fn start(
        number: u32,
        binary: &Binary,
        estate: &mut Estate,
    ) -> io::Result<(Self, Inventory)> {
        let (link, end) = Link::pair()?;
        let mut command = binary.command();
        command.args([SUBCOMMAND, &number.to_string()]);
        command.stdin(Stdio::from(end)).stdout(Stdio::null());
        // A Ctrl-C is for us alone, and what it means is said to the engine by us.
        command.process_group(0);
        let inventory = estate.pass_to(&mut command)?;
        let child = Offspring::spawn(&mut command)?;
        let serial = binary.serial();
        Ok((Self { child, link, serial, heard: None, complained: false }, inventory))
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        let Self { child, link, serial, heard, .. } = self;
        let link = luggage.pack(link);
        Note { pid: child.pid(), link, serial: *serial, serves: heard.is_some() }
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// The link is not open.
    pub fn unpack(note: &Note) -> io::Result<Self> {
        let Note { pid, link, serial, serves } = *note;
        let (child, link) = (Offspring::of(pid), Link::over(inherited(link)?));
        let heard = serves.then(Instant::now);
        Ok(Self { child, link, serial, heard, complained: false })
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// See [`Offspring::ended`].
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.ended()
    }

    /// What it has said, if it has said something.
    pub fn said(&self) -> Option<Message> {
        self.link.receive().ok().flatten()
    }

    /// Its engine thread has answered.
    pub fn answered(&mut self) {
        (self.heard, self.complained) = (Some(Instant::now()), false);
    }

    /// It serves, and its engine thread has answered lately.
    pub fn answers(&self) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() <= SILENCE_MAX)
    }

    /// `true` once, when it has ceased to answer.
    pub fn falls_silent(&mut self) -> bool {
        let silent = self.heard.is_some() && !self.answers();
        silent && !std::mem::replace(&mut self.complained, true)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// Some beats of one a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);
