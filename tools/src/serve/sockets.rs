//! All that the keeper listens on for its engines.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

use super::given::Given;
use super::porter::{Porter, hibernate_place};
use crate::config::Config;
use crate::link::Word;
use crate::{control, metrics};

/// The sockets. Connections that come while an engine is away wait in their queues.
pub struct Sockets {
    hibernate: Porter,
    control: Porter,
    metrics: Option<TcpListener>,
}

impl Sockets {
    /// Those that systemd has bound are used, the others are bound.
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
        Ok(Self { hibernate, control, metrics })
    }

    /// Each with the word under which an engine gets it.
    pub fn listeners(&self) -> impl Iterator<Item = (Word, BorrowedFd<'_>)> {
        let unix = [
            (Word::Hibernate, self.hibernate.listener()),
            (Word::Control, self.control.listener()),
        ];
        unix.into_iter().chain(self.metrics.iter().map(|it| (Word::Metrics, it.as_fd())))
    }

    /// Looks at the paths, and tells of each that was bound anew.
    pub fn look(&mut self, mut tell: impl FnMut(Word, BorrowedFd<'_>)) {
        let unix = [(Word::Hibernate, &mut self.hibernate), (Word::Control, &mut self.control)];
        for (word, porter) in unix {
            if porter.look() {
                tell(word, porter.listener());
            }
        }
    }

    /// Workers keep their clients from now on.
    pub fn leave_hibernate(&self) {
        self.hibernate.leave();
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.hibernate.leave();
        self.control.leave();
    }
}
