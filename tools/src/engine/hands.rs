//! What an engine keeps in its hands for its keeper, and for the one after that.
//!
//! Every descriptor that its kit names keeps its number as long as the engine lives: a new keeper
//! takes them from this process by number, whatever it is doing.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::dup3;
use torpor_engine::sys::inherited;

use crate::kit::Kit;
use crate::link::{Link, Message, Word};

/// All but the estate, which the engine works with.
pub struct Hands {
    /// To the keeper that has started this process.
    pub link: Link,
    pub door: Door,
    pub sockets: Sockets,
}

/// Where a new keeper is heard of.
pub struct Door {
    inside: Link,
    /// Taken, never used here.
    _outside: OwnedFd,
}

/// The sockets that are accepted from, under the numbers that the kit gives.
pub struct Sockets {
    hibernate: OwnedFd,
    control: OwnedFd,
    metrics: Option<OwnedFd>,
}

impl Hands {
    /// Takes up what this process was started with.
    ///
    /// # Errors
    /// The standard input is no kit, or names what is not there.
    pub fn take() -> io::Result<(Kit, Self)> {
        let kit = Kit::unpack(&File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
        let [inside, outside] = kit.door;
        let listeners = kit.listeners;
        let hands = Self {
            link: Link::over(inherited(kit.link)?),
            door: Door { inside: Link::over(inherited(inside)?), _outside: inherited(outside)? },
            sockets: Sockets {
                hibernate: inherited(listeners.hibernate)?,
                control: inherited(listeners.control)?,
                metrics: listeners.metrics.map(inherited).transpose()?,
            },
        };
        Ok((kit, hands))
    }
}

impl Door {
    /// Pid of a new keeper, and the link to it.
    pub fn opened(&self) -> Option<(u32, Link)> {
        let Message { word, text, descriptor } = self.inside.receive().ok().flatten()?;
        let link = Link::over(descriptor?);
        (word == Word::Keeper).then_some((text.parse().unwrap_or_default(), link))
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }
}

impl Sockets {
    /// Copies to accept from: hibernate, control, metrics.
    pub fn share(&self) -> io::Result<(OwnedFd, OwnedFd, Option<OwnedFd>)> {
        let again = |socket: &OwnedFd| socket.try_clone();
        let metrics = self.metrics.as_ref().map(again).transpose()?;
        Ok((again(&self.hibernate)?, again(&self.control)?, metrics))
    }

    /// The hibernate socket was bound anew.
    pub fn set_hibernate(&mut self, socket: &OwnedFd) -> io::Result<()> {
        replace(&mut self.hibernate, socket)
    }

    /// The control socket was.
    pub fn set_control(&mut self, socket: &OwnedFd) -> io::Result<()> {
        replace(&mut self.control, socket)
    }
}

/// The number stays, what it stands for changes.
fn replace(old: &mut OwnedFd, new: &OwnedFd) -> io::Result<()> {
    Ok(dup3(new, old, OFlag::O_CLOEXEC)?)
}
