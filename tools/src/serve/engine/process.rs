//! The process of an engine: what it was started from, and what it has said.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use crate::engine::SUBCOMMAND;
use crate::kit::{Claim, Kit};
use crate::link::{Link, Message};
use crate::luggage::Luggage;
use crate::outfit::Outfit;
use crate::serve::binary::Binary;
use crate::serve::charge::{self, Charge, End};

/// One that runs, or has ended and was not waited for.
pub struct Process {
    charge: Charge,
    pub link: Link,
    /// Says that we are its keeper.
    claim: Claim,
    /// Which program it is: see [`Binary::serial`].
    pub serial: u32,
    /// When it last said that its engine thread answers; none: it does not serve yet.
    pub heard: Option<Instant>,
    /// Since when we know it.
    since: Instant,
    /// True exactly when it was logged that it does not answer.
    complained: bool,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    charge: charge::Note,
    link: RawFd,
    claim: RawFd,
    serial: u32,
    serves: bool,
}

impl Process {
    /// Starts the engine of this number with its kit and what that names.
    ///
    /// # Errors
    /// No process could be made, or no descriptors are left.
    pub fn start(
        number: u32,
        binary: &Binary,
        kit: File,
        outfit: Outfit,
        link: Link,
    ) -> io::Result<Self> {
        let claim = Kit::claim(&kit)?;
        let mut command = binary.command();
        command.args([SUBCOMMAND, &number.to_string()]);
        command.stdin(Stdio::from(kit)).stdout(Stdio::null());
        // A Ctrl-C is for us alone, and what it means is said to the engine by us.
        command.process_group(0);
        outfit.pass_to(&mut command)?;
        let charge = Charge::spawn(&mut command)?;
        Ok(Self::over(charge, link, claim, binary.serial()))
    }

    /// One that another keeper has started, of whatever program.
    pub fn found(charge: Charge, link: Link, claim: Claim) -> Self {
        Self::over(charge, link, claim, u32::MAX)
    }

    fn over(charge: Charge, link: Link, claim: Claim, serial: u32) -> Self {
        let (heard, since, complained) = (None, Instant::now(), false);
        Self { charge, link, claim, serial, heard, since, complained }
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        let Self { charge, link, claim, serial, heard, .. } = self;
        let (charge, link, claim) =
            (charge.note(luggage), luggage.pack(link), luggage.pack(&**claim));
        Note { charge, link, claim, serial: *serial, serves: heard.is_some() }
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// A descriptor is not open.
    pub fn unpack(note: &Note) -> io::Result<Self> {
        let Note { charge, link, claim, serial, serves } = *note;
        let claim = Kit::keep_claim(inherited(claim)?.into())?;
        let (charge, link) = (Charge::unpack(charge)?, Link::over(inherited(link)?));
        let mut process = Self::over(charge, link, claim, serial);
        process.heard = serves.then(Instant::now);
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.charge.pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.charge.signal(signal);
    }

    /// See [`Charge::ended`].
    pub fn ended(&mut self) -> Option<End> {
        self.charge.ended()
    }

    /// Another keeper has started it.
    pub fn is_found(&self) -> bool {
        !self.charge.is_child()
    }

    /// One that was found and has not answered since.
    pub fn ignores_us(&self) -> bool {
        self.is_found() && self.heard.is_none() && self.since.elapsed() > GREETING_MAX
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
/// An heir of very many clients needs less than this to begin; whoever needs more hangs.
const GREETING_MAX: Duration = Duration::from_secs(10);
