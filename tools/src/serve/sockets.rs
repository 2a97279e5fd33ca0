//! All that the keeper listens on for its engines.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

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
    /// # Errors
    /// One cannot be bound.
    pub fn bind(config: &Config) -> io::Result<Self> {
        let hibernate = Porter::bind(hibernate_place(config)?)?;
        let control = Porter::bind(control::place(config))?;
        let metrics = config.metrics.listen.map(metrics::bind).transpose()?;
        if let Some((_, address)) = &metrics {
            tracing::info!("metrics at http://{address}/metrics");
        }
        Ok(Self { hibernate, control, metrics: metrics.map(|(listener, _)| listener) })
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
