//! The keeper's loop: signals, sockets at paths, and the processes that do the work.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::binary::Binary;
use super::engine::EngineKeeper;
use super::front::FrontKeeper;
use super::notify::Notifier;
use super::options::ServeOptions;
use super::petition::{Asker, Petition, Question};
use super::signals::{Asked, Signals};
use super::sockets::Sockets;
use super::upgrade::Upgrade;
use crate::config::{Config, ConfigError};
use crate::log::Logger;

/// What the parent of all looks after. It never reads a client.
pub struct Keeper<'a> {
    pub config: Config,
    /// What engines are started from.
    pub binary: Binary,
    pub sockets: Sockets,
    pub engines: Vec<EngineKeeper>,
    pub front: Option<FrontKeeper>,
    pub signals: &'a Signals,
    pub logger: &'a Logger,
    pub notifier: Notifier,
    /// Where the configuration is to be read anew.
    pub options: &'a ServeOptions,
    pub upgrade: Option<Upgrade>,
    /// Who is about to ask for something.
    pub asker: Option<Asker>,
}

impl Keeper<'_> {
    /// Waits until every engine serves. `false`: told to stop before.
    ///
    /// # Errors
    /// One has ended instead; it has said why.
    pub fn wait_until_ready(&mut self) -> io::Result<bool> {
        while !self.engines.iter().all(EngineKeeper::answers) {
            if self.wait(false)? == Some(Asked::Stop) {
                return Ok(false);
            }
            for engine in &mut self.engines {
                engine.hear();
                if let Some(status) = engine.failure() {
                    return Err(io::Error::other(format!("an engine has not started: {status}")));
                }
                // One that was taken over may be killed, too.
                engine.look(&self.config, &self.sockets, &self.binary);
            }
        }
        Ok(true)
    }

    /// Keeps everything running until a signal says that it is over.
    pub fn keep(mut self) -> io::Result<()> {
        let mut looked = Instant::now();
        loop {
            match self.wait(true)? {
                Some(Asked::Stop) => return self.stop(None),
                Some(Asked::Reload) => self.reload_as_told(),
                Some(Asked::Look) => self.look_at_front(),
                None => {}
            }
            match self.hear_petition() {
                Some((Question::Upgrade(path), petition)) => self.upgrade_to(&path, petition),
                Some((Question::Stop, petition)) => return self.stop(Some(petition)),
                None => {}
            }
            for engine in &mut self.engines {
                engine.hear();
                engine.look(&self.config, &self.sockets, &self.binary);
                engine.look_at_watcher(&self.config, &self.binary);
                engine.look_at_listener(&self.sockets);
            }
            self.look_at_upgrade();
            if looked.elapsed() >= Duration::from_millis(LOOK_MS.into()) {
                looked = Instant::now();
                self.look();
            }
        }
    }

    /// Once a second: what nobody tells us of.
    fn look(&mut self) {
        let (engines, notifier) = (&self.engines, &self.notifier);
        self.sockets.look(|word, name, listener| {
            engines.iter().for_each(|engine| engine.relisten(word, listener));
            notifier.keep(name, listener);
        });
        self.engines.iter_mut().for_each(EngineKeeper::look_at_helper);
        self.look_at_front();
        let answering = self.engines.iter().filter(|engine| engine.answers()).count();
        let hangs = self.engines.iter().any(EngineKeeper::hangs);
        self.notifier.look(answering, self.engines.len(), hangs);
    }

    fn look_at_front(&mut self) {
        let others = self.others();
        if let Some(front) = &mut self.front {
            front.look(&others);
        }
    }

    fn reload_as_told(&mut self) {
        self.notifier.reloading();
        if let Err(error) = self.reload() {
            tracing::error!("reload: {error}; the old configuration stays in force");
        }
        self.notifier.ready();
    }

    /// Takes over what may change.
    ///
    /// # Errors
    /// The configuration cannot be used; nothing changes.
    pub fn reload(&mut self) -> Result<(), ConfigError> {
        let new = self.options.load()?;
        self.take_up(&new);
        if let Some(front) = &self.front {
            front.reload();
        }
        Ok(())
    }

    /// Names what needs a restart, and lets the engines have the rest.
    pub fn take_up(&mut self, new: &Config) {
        self.logger.set_level(new.log.level);
        for part in self.config.needs_restart(new) {
            tracing::warn!("reload: a change in {part} takes effect at the next start");
        }
        self.config.take_reloadable(new);
        self.engines.iter().for_each(|engine| engine.reload(&self.config));
    }

    /// Lets systemd keep the sockets, so that their queues outlive all of us.
    pub fn store(&self) {
        let front = self.front.iter().flat_map(FrontKeeper::own);
        self.sockets.own().chain(front).for_each(|(name, socket)| self.notifier.keep(name, socket));
    }

    /// A start has failed. Engines that were taken over go on as before, and keep their sockets.
    pub fn give_up(&self) {
        let (found, ours): (Vec<_>, Vec<_>) =
            self.engines.iter().partition(|engine| engine.is_found());
        ours.iter().for_each(|engine| engine.signal(Signal::SIGKILL));
        if found.is_empty() {
            self.sockets.leave();
        }
    }

    /// The next operator's question, unless one waits for an upgrade.
    pub fn hear_petition(&mut self) -> Option<(Question, Petition)> {
        if self.upgrade.is_some() {
            return None;
        }
        let asker = self.asker.take().or_else(|| Asker::accept(self.sockets.petitions()))?;
        match asker.hear() {
            Ok(Ok(petition)) => return Some(petition),
            Ok(Err(asker)) => self.asker = Some(asker),
            Err(error) => tracing::error!("what an operator asks for is not understood: {error}"),
        }
        None
    }

    /// Waits for news; of operators only if we go on to hear them.
    pub fn wait(&self, hears_petitions: bool) -> io::Result<Option<Asked>> {
        let links = self.engines.iter().filter_map(EngineKeeper::link);
        let hears_petitions = hears_petitions && self.upgrade.is_none();
        let asker = self.asker.as_ref().map_or_else(|| self.sockets.petitions(), AsFd::as_fd);
        let petitions = hears_petitions.then_some(asker);
        let others: Vec<BorrowedFd<'_>> = links.chain(petitions).collect();
        let due = self.engines.iter().filter_map(EngineKeeper::due).min();
        let wait_ms = due.map(|due| due.saturating_duration_since(Instant::now()).as_millis() + 1);
        let wait_ms = wait_ms.map_or(LOOK_MS, |ms| ms.min(LOOK_MS.into()) as u16);
        self.signals.wait(&others, wait_ms)
    }

    /// Our children but for the front and what it left behind.
    pub fn others(&self) -> Vec<u32> {
        let rehearsal = self.upgrade.as_ref().and_then(Upgrade::pid);
        self.engines.iter().flat_map(EngineKeeper::pids).chain(rehearsal).collect()
    }
}

/// Between two looks at paths and processes.
const LOOK_MS: u16 = 1000;
