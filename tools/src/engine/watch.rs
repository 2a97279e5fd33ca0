//! What the main thread does while the engine runs: signals, and what the keeper says.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::desk::DeskEnds;
use crate::link::{Link, Message, Word};
use crate::log::Logger;
use crate::serve::{Asked, Signals};

use super::around::Around;
use super::kit;
use super::parts::{Listening, Parts};

/// Keeps watch until the engine has ended: told to, or broken.
pub fn watch(
    parts: Parts,
    around: Around,
    config: Config,
    link: &Link,
    signals: &Signals,
    logger: &Logger,
) -> io::Result<()> {
    let Parts { engine, ended, listening, ends, .. } = parts;
    let mut guard = Guard { around, config, link: Some(link), listening, ends, logger };
    let (mut told, mut looked) = (LossesTold::default(), Instant::now());
    while !engine.is_finished() {
        let others: Vec<BorrowedFd<'_>> =
            [Some(ended.as_fd()), guard.link.map(AsFd::as_fd)].into_iter().flatten().collect();
        if signals.wait(&others, LOOK_MS)? == Some(Asked::Stop) {
            guard.ends.orders.stop().map_err(io::Error::other)?;
        }
        guard.hear();
        if looked.elapsed() >= Duration::from_millis(LOOK_MS.into()) {
            looked = Instant::now();
            told.tell(&guard.ends, logger);
            guard.beat();
        }
    }
    guard.end(engine)
}

/// All that the main thread looks after.
struct Guard<'a> {
    around: Around,
    config: Config,
    /// None: the keeper has gone.
    link: Option<&'a Link>,
    listening: Listening,
    ends: DeskEnds,
    logger: &'a Logger,
}

impl Guard<'_> {
    /// Does what the keeper has said.
    fn hear(&mut self) {
        while let Some(link) = self.link {
            match link.receive() {
                Ok(Some(message)) => self.obey(message),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(
                        event = "keeper_gone",
                        "the keeper has gone ({error}): this engine goes on serving alone"
                    );
                    self.link = None;
                }
            }
        }
    }

    fn obey(&mut self, message: Message) {
        let Message { word, text, descriptor } = message;
        match (word, descriptor) {
            (Word::Config, None) => match kit::read(&text) {
                Ok(new) => self.reload(&new),
                Err(error) => tracing::error!("reload: {error}"),
            },
            (Word::AnvilPid, None) => {
                let pid = text.parse().unwrap_or_default();
                self.around.anvil_pid.store(pid, Ordering::Relaxed);
            }
            (Word::Hibernate, Some(listener)) => self.listening.relisten(listener),
            (Word::Control, Some(listener)) => {
                // One that waits still is as dead as the path it was bound to; it is looked at
                // once a second, far more often than a path goes.
                let _ = self.around.control.try_send(listener);
            }
            (word, _) => tracing::error!("the keeper says {word:?} at the wrong time"),
        }
    }

    /// Takes over what may change while the engine runs and names what may not.
    fn reload(&mut self, new: &Config) {
        if let Err(error) = self.ends.orders.reload(new.knobs()) {
            tracing::error!("reload: {error}");
            return;
        }
        self.logger.set_level(new.log.level);
        for part in self.config.needs_restart(new) {
            tracing::warn!("reload: a change in {part} takes effect at the next start");
        }
        self.config.take_reloadable(new);
        tracing::info!(event = "reloaded", "configuration reloaded");
    }

    /// Tells the keeper that the engine thread answers. Silence says that it does not.
    fn beat(&mut self) {
        let Some(link) = self.link else { return };
        if self.ends.orders.ping().is_ok() {
            // A keeper that does not read has other troubles, or has gone; see `hear`.
            let _ = link.send(Word::Beat, "", None);
        }
    }

    fn end(self, engine: JoinHandle<()>) -> io::Result<()> {
        let result = engine.join();
        let Self { around, ends, .. } = self;
        drop(ends);
        around.end();
        result.map_err(|_| io::Error::other("the engine panicked"))
    }
}

/// Losses that have been logged.
#[derive(Default)]
struct LossesTold {
    notes: u64,
    lines: u64,
    papers: u64,
}

impl LossesTold {
    fn tell(&mut self, ends: &DeskEnds, logger: &Logger) {
        let notes = ends.losses.notes.load(Ordering::Relaxed);
        let lines = logger.losses().dropped_lines() as u64;
        let new = (notes - self.notes) + (lines - self.lines);
        if new > 0 {
            tracing::warn!(event = "log_losses", lost = new, "{new} log lines were lost");
            (self.notes, self.lines) = (notes, lines);
        }
        let papers = ends.losses.papers.load(Ordering::Relaxed);
        if papers > self.papers {
            let lost = papers - self.papers;
            tracing::warn!(event = "anvil_losses", lost, "anvil was not told of {lost} events");
            self.papers = papers;
        }
    }
}

/// Between two beats.
const LOOK_MS: u16 = 1000;
