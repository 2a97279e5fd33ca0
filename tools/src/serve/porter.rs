//! The porter: makes the hibernate socket, and makes it again when Dovecot has removed it.

use std::io;
use std::os::fd::OwnedFd;

use crossbeam_channel::Sender;

use crate::config::Config;
use crate::desk::Bell;
use crate::socket::{Finding, Mark, Place, gid_of, uid_of};

/// The owner of the path `base_dir/imap-hibernate`.
pub struct Porter {
    place: Place,
    mark: Mark,
    listeners: Sender<OwnedFd>,
    bell: Bell,
    /// True exactly when somebody has been told why the socket is not made again.
    complained: bool,
}

impl Porter {
    /// Binds the socket. Later listeners go through `listeners`, with a ring of the bell.
    pub fn bind(
        config: &Config,
        listeners: Sender<OwnedFd>,
        bell: Bell,
    ) -> io::Result<(Self, OwnedFd)> {
        let place = place_of(config)?;
        let (listener, mark) = place.bind().map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::new(error.kind(), format!("{error}: {HINT}")),
            _ => error,
        })?;
        Ok((Self { place, mark, listeners, bell, complained: false }, listener))
    }

    /// Looks at the path; to be called once a second.
    pub fn look(&mut self) {
        match self.place.look(Some(self.mark)) {
            Finding::Ours => self.complained = false,
            Finding::Vacant => match self.place.bind() {
                Ok((listener, mark)) => self.bound(listener, mark),
                Err(error) if self.place.path.parent().is_some_and(|dir| dir.is_dir()) => {
                    self.complain(&error.to_string());
                }
                // Dovecot is stopped and its folder has gone with it.
                Err(_) => {}
            },
            Finding::Taken => {
                let path = self.place.path.display();
                let text = format!("{path}: another program listens there: {HINT}");
                self.complain(&text);
            }
        }
    }

    /// Removes the socket, so that workers keep their clients instead of waiting for us.
    pub fn leave(&self) {
        self.place.remove(self.mark);
    }

    fn bound(&mut self, listener: OwnedFd, mark: Mark) {
        // The engine takes listeners far faster than once a second.
        if self.listeners.try_send(listener).is_ok() {
            self.mark = mark;
            self.complained = false;
            self.bell.ring();
            let path = self.place.path.display();
            tracing::info!(event = "socket_recreated", "{path} had gone and was made again");
        }
    }

    fn complain(&mut self, text: &str) {
        if !self.complained {
            tracing::error!("{text}");
            self.complained = true;
        }
    }
}

/// Dovecot's workers reach the socket through its internal group, if it exists.
fn place_of(config: &Config) -> io::Result<Place> {
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
