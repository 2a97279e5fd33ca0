//! All that the keeper listens on for its engines.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use super::given::Given;
use super::notify::Stored;
use super::porter::{self, Porter, hibernate_place};
use crate::config::{Config, keeper_path};
use crate::kit::Listeners;
use crate::link::Word;
use crate::luggage::Luggage;
use crate::outfit::Outfit;
use crate::socket::Place;
use crate::{control, metrics};

/// The sockets. Connections that come while an engine is away wait in their queues.
pub struct Sockets {
    hibernate: Porter,
    control: Porter,
    metrics: Option<TcpListener>,
    /// Where operators ask the keeper itself.
    petitions: Porter,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    hibernate: porter::Note,
    control: porter::Note,
    metrics: Option<RawFd>,
    petitions: porter::Note,
}

impl Sockets {
    /// Those that are given are used, the others are bound.
    ///
    /// # Errors
    /// One cannot be bound.
    pub fn open(config: &Config, given: &mut Given) -> io::Result<Self> {
        let hibernate = Porter::open(hibernate_place(config)?, given)?;
        let control = Porter::open(control::place(config), given)?;
        let metrics = config.metrics.listen.map(|address| match given.take_tcp(address) {
            Some(listener) => Ok(listener),
            None => metrics::bind(address),
        });
        let metrics = metrics.transpose()?;
        if let Some(listener) = &metrics {
            // Its threads wait in accept.
            listener.set_nonblocking(false)?;
            tracing::info!("metrics at http://{}/metrics", listener.local_addr()?);
        }
        let petitions = Porter::open(petitions_place(config), given)?;
        Ok(Self { hibernate, control, metrics, petitions })
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        Note {
            hibernate: self.hibernate.note(luggage),
            control: self.control.note(luggage),
            metrics: self.metrics.as_ref().map(|listener| luggage.pack(listener)),
            petitions: self.petitions.note(luggage),
        }
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// A socket is not open.
    pub fn unpack(note: Note) -> io::Result<Self> {
        let Note { hibernate, control, metrics, petitions } = note;
        let (hibernate, control) = (Porter::unpack(hibernate)?, Porter::unpack(control)?);
        let metrics = metrics.map(inherited).transpose()?.map(TcpListener::from);
        Ok(Self { hibernate, control, metrics, petitions: Porter::unpack(petitions)? })
    }

    /// Passes them on to an engine that is about to be started.
    pub fn pass(&self, outfit: &mut Outfit) -> io::Result<Listeners> {
        let metrics = self.metrics.as_ref().map(|socket| outfit.put(socket.as_fd()));
        Ok(Listeners {
            hibernate: outfit.put(self.hibernate.listener())?,
            control: outfit.put(self.control.listener())?,
            metrics: metrics.transpose()?,
        })
    }

    /// The hibernate socket as it was last made.
    pub fn hibernate(&self) -> BorrowedFd<'_> {
        self.hibernate.listener()
    }

    /// Those that are nobody's if we do not keep them, with their names for systemd.
    pub fn own(&self) -> impl Iterator<Item = (Stored, BorrowedFd<'_>)> {
        let unix = [(Stored::Hibernate, &self.hibernate), (Stored::Control, &self.control)];
        let unix = unix.into_iter().filter_map(|(name, porter)| Some((name, porter.own()?)));
        unix.chain(self.metrics.iter().map(|socket| (Stored::Metrics, socket.as_fd())))
    }

    /// Where operators ask the keeper itself.
    pub fn petitions(&self) -> BorrowedFd<'_> {
        self.petitions.listener()
    }

    /// Looks at the paths, and tells of each that was bound anew.
    pub fn look(&mut self, mut tell: impl FnMut(Word, Stored, BorrowedFd<'_>)) {
        let unix = [
            (Word::Hibernate, Stored::Hibernate, &mut self.hibernate),
            (Word::Control, Stored::Control, &mut self.control),
        ];
        for (word, name, porter) in unix {
            if porter.look() {
                tell(word, name, porter.listener());
            }
        }
        self.petitions.look();
    }

    /// Workers keep their clients from now on.
    pub fn leave_hibernate(&self) {
        self.hibernate.leave();
    }

    /// Nobody serves any more.
    pub fn leave(&self) {
        self.hibernate.leave();
        self.control.leave();
        self.petitions.leave();
    }
}

/// Beside the control socket, and for those alone whose process the keeper is.
fn petitions_place(config: &Config) -> Place {
    let path = keeper_path(&config.control_path());
    Place { path, mode: 0o600, owner: None, group: None, backlog: 16 }
}
