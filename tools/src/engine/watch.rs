//! What the main thread does while the engine runs: signals, and what the keeper says.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use torpor_engine::watcher::Connections;

use crate::config::Config;
use crate::desk::DeskEnds;
use crate::link::{Link, Message, Word};
use crate::log::Logger;
use crate::serve::{Asked, Signals};

use super::around::Around;
use super::hands::{Door, Sockets};
use super::parts::{Listening, Parts};

/// Keeps watch until the engine has ended: told to, or broken.
pub fn watch(
    parts: Parts,
    around: Around,
    config: Config,
    (link, door, sockets): (Link, Door, Sockets),
    signals: &Signals,
    logger: &Logger,
) -> io::Result<()> {
    let Parts { engine, ended, listening, watchers, ends, .. } = parts;
    let link = Some(link);
    let mut guard =
        Guard { around, config, link, door, sockets, listening, watchers, ends, logger };
    let (mut told, mut looked) = (LossesTold::default(), Instant::now());
    while !engine.is_finished() {
        let link = guard.link.as_ref().map(AsFd::as_fd);
        let others: Vec<BorrowedFd<'_>> =
            [ended.as_fd(), guard.door.as_fd()].into_iter().chain(link).collect();
        if signals.wait(&others, LOOK_MS)? == Some(Asked::Stop) {
            guard.ends.orders.stop().map_err(io::Error::other)?;
        }
        guard.hear();
        guard.open();
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
    link: Option<Link>,
    door: Door,
    sockets: Sockets,
    listening: Listening,
    watchers: Connections,
    ends: DeskEnds,
    logger: &'a Logger,
}

impl Guard<'_> {
    /// Does what the keeper has said.
    fn hear(&mut self) {
        while let Some(link) = &self.link {
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

    /// Lets a new keeper in. Whoever opens the door may take this process apart, and has made sure
    /// that the keeper before is dead.
    fn open(&mut self) {
        while let Some((pid, link)) = self.door.opened() {
            tracing::info!(event = "keeper_new", "process {pid} is the keeper from now on");
            self.around.keeper_pid.store(pid, Ordering::Relaxed);
            // It has heard of no beat, but this engine serves.
            let _ = link.send(Word::Ready, "", None);
            self.link = Some(link);
            self.hear();
        }
    }

    fn obey(&mut self, message: Message) {
        let Message { word, text, descriptor } = message;
        match (word, descriptor) {
            (Word::Config, None) => match Config::parse(Path::new("keeper"), &text) {
                Ok(new) => self.reload(&new),
                Err(error) => tracing::error!("reload: {error}"),
            },
            (Word::AnvilPid, None) => {
                let pid = text.parse().unwrap_or_default();
                self.around.anvil_pid.store(pid, Ordering::Relaxed);
            }
            (Word::Hibernate, Some(listener)) => {
                note(self.sockets.set_hibernate(&listener));
                self.listening.relisten(listener);
            }
            (Word::Watcher, Some(socket)) => self.watchers.take(socket),
            (Word::Control, Some(listener)) => {
                note(self.sockets.set_control(&listener));
                // One that waits still is as dead as the path it was bound to; it is looked at
                // once a second, far more often than a path goes.
                let _ = self.around.control.try_send(listener);
            }
            (word, _) => tracing::error!("the keeper says {word:?} at the wrong time"),
        }
    }

    /// Takes over what may change while the engine runs; the keeper has named what may not.
    fn reload(&mut self, new: &Config) {
        if let Err(error) = self.ends.orders.reload(new.knobs()) {
            tracing::error!("reload: {error}");
            return;
        }
        self.logger.set_level(new.log.level);
        self.config.take_reloadable(new);
        tracing::info!(event = "reloaded", "configuration reloaded");
    }

    /// Tells the keeper that the engine thread answers. Silence says that it does not.
    fn beat(&mut self) {
        let Some(link) = &self.link else { return };
        if self.ends.orders.ping().is_ok() {
            // A keeper that does not read has other troubles, or has gone; see `hear`.
            let _ = link.send(Word::Beat, "", None);
        }
    }

    fn end(self, engine: JoinHandle<()>) -> io::Result<()> {
        let result = engine.join();
        let Self { around, ends, link, .. } = self;
        if let Some(link) = link {
            let dismissed = ends.gauges.load().dismissed.to_string();
            let _ = link.send(Word::Dismissed, &dismissed, None);
        }
        drop(ends);
        around.end();
        result.map_err(|_| io::Error::other("the engine panicked"))
    }
}

/// A new keeper would take the socket that was there before.
fn note(kept: io::Result<()>) {
    if let Err(error) = kept {
        tracing::error!("a socket that was bound anew is not kept for a new keeper: {error}");
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
