//! The porter of a socket: makes it, and makes it again when Dovecot has removed it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use super::given::{Given, GivenUnix};
use crate::config::Config;
use crate::luggage::Luggage;
use crate::socket::{Finding, Mark, Place, gid_of, uid_of};

/// The owner of one path in Dovecot's folder. Whoever accepts there is another process.
pub struct Porter {
    place: Place,
    mark: Mark,
    listener: OwnedFd,
    /// True exactly when systemd has bound it, whose path it is then.
    is_given: bool,
    /// True exactly when somebody has been told why the socket is not made again.
    complained: bool,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    place: Place,
    mark: Mark,
    listener: RawFd,
    is_given: bool,
}

impl Porter {
    /// Takes the socket that systemd or a keeper before us has bound to this path, or binds it.
    ///
    /// # Errors
    /// Names the path; one that another program listens on is left alone.
    pub fn open(place: Place, given: &mut Given) -> io::Result<Self> {
        for GivenUnix { listener, is_ours } in given.take_unix(&place.path)? {
            if !is_ours || place.leads_to(&listener) {
                let (mark, listener) = (place.mark()?, listener.into());
                let (is_given, complained) = (!is_ours, false);
                return Ok(Self { place, mark, listener, is_given, complained });
            }
        }
        let (listener, mark) = place.bind().map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::new(error.kind(), format!("{error}: {HINT}")),
            _ => error,
        })?;
        Ok(Self { place, mark, listener, is_given: false, complained: false })
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        let Self { place, mark, listener, is_given, .. } = self;
        let (place, listener) = (place.clone(), luggage.pack(listener));
        Note { place, mark: *mark, listener, is_given: *is_given }
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// The socket is not open.
    pub fn unpack(note: Note) -> io::Result<Self> {
        let Note { place, mark, listener, is_given } = note;
        let listener = inherited(listener)?;
        Ok(Self { place, mark, listener, is_given, complained: false })
    }

    /// The socket as it was last made.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The same if no unit of systemd has bound it.
    pub fn own(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_given).then(|| self.listener.as_fd())
    }

    /// Looks at the path; to be called once a second. `true`: there is another listener now.
    pub fn look(&mut self) -> bool {
        match self.place.look(Some(self.mark)) {
            Finding::Ours => self.complained = false,
            Finding::Vacant => match self.place.bind() {
                Ok((listener, mark)) => {
                    (self.listener, self.mark) = (listener, mark);
                    (self.is_given, self.complained) = (false, false);
                    let path = self.place.path.display();
                    tracing::info!(
                        event = "socket_recreated",
                        "{path} had gone and was made again"
                    );
                    return true;
                }
                Err(error) if self.place.path.parent().is_some_and(|dir| dir.is_dir()) => {
                    self.complain(&error.to_string());
                }
                // Dovecot is stopped and its folder has gone with it.
                Err(_) => {}
            },
            Finding::Taken => {
                let path = self.place.path.display();
                self.complain(&format!("{path}: another program listens there: {HINT}"));
            }
        }
        false
    }

    /// Removes the socket, so that nobody waits for us.
    pub fn leave(&self) {
        if !self.is_given {
            self.place.remove(self.mark);
        }
    }

    fn complain(&mut self, text: &str) {
        if !self.complained {
            tracing::error!("{text}");
            self.complained = true;
        }
    }
}

/// Where the hibernate socket is to be. Dovecot's workers reach it through its internal group, if
/// that exists.
pub fn hibernate_place(config: &Config) -> io::Result<Place> {
    let hibernate = &config.hibernate;
    let group = match &hibernate.group {
        Some(name) => Some(gid_of(name)?),
        None if config.front.maildir.is_none() => gid_of(DOVECOT_GROUP).ok(),
        None => None,
    };
    Ok(Place {
        path: config.hibernate_path(),
        mode: hibernate.mode,
        owner: hibernate.owner.as_deref().map(uid_of).transpose()?,
        group,
        backlog: hibernate.backlog,
    })
}

/// `default_internal_group` of Dovecot.
const DOVECOT_GROUP: &str = "dovecot";
const HINT: &str = "is Dovecot's own imap-hibernate still on? Set mode = 0 in its unix_listener \
                    imap-hibernate, reload Dovecot, then start torpor";
