//! What the main thread does while the engine runs: signals, sockets at paths, the helper.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::around::Around;
use super::engine::Parts;
use super::front::FrontKeeper;
use super::helper::Helper;
use super::signals::{Asked, Signals};
use crate::config::{Config, ConfigError};
use crate::desk::DeskEnds;
use crate::log::Logger;

/// Keeps watch until the engine has ended: told to by a signal, or broken.
pub fn supervise(
    parts: Parts,
    mut front: Option<FrontKeeper>,
    mut config: Config,
    signals: &Signals,
    logger: &Logger,
    load: &dyn Fn() -> Result<Config, ConfigError>,
) -> io::Result<()> {
    let Parts { engine, ended, mut porter, mut helper, ends, limits } = parts;
    let around = Around::start(&config, &ends, helper.pid(), limits, logger)?;
    let mut told = LossesTold::default();
    let mut stopping = false;
    let mut looked = Instant::now();
    while !engine.is_finished() {
        match signals.wait(Some(ended.as_fd()), LOOK_MS)? {
            Some(Asked::Stop) if stopping => {
                tracing::warn!("second signal: ending at once, sleepers are closed without BYE");
                return Ok(());
            }
            Some(Asked::Stop) => {
                stopping = true;
                tracing::info!(event = "stopping", "stopping: BYE to every sleeper");
                porter.leave();
                if let Some(front) = &front {
                    front.stop(&[helper.pid()]);
                }
                ends.orders.stop().map_err(io::Error::other)?;
            }
            Some(Asked::Reload) => {
                reload(&mut config, load, &ends, logger);
                if let Some(front) = &front {
                    front.reload();
                }
            }
            None => {}
        }
        if looked.elapsed() >= Duration::from_millis(LOOK_MS.into()) && !stopping {
            looked = Instant::now();
            porter.look();
            if let Some(front) = &mut front {
                front.look(&[helper.pid()]);
            }
            revive(&mut helper, &around.anvil_pid);
            told.tell(&ends, logger);
        }
    }
    porter.leave();
    if let Some(front) = front {
        front.stop(&[helper.pid()]);
        front.join(&[helper.pid()]);
    }
    let result = engine.join();
    drop(ends);
    around.end();
    match result {
        Ok(Ok(())) => {
            tracing::info!(event = "stopped", "stopped");
            Ok(())
        }
        Ok(Err(error)) => Err(io::Error::other(format!("the engine has ended: {error}"))),
        Err(_) => Err(io::Error::other("the engine panicked; its clients are disconnected")),
    }
}

/// Takes over what may change while the engine runs and names what may not.
fn reload(
    config: &mut Config,
    load: &dyn Fn() -> Result<Config, ConfigError>,
    ends: &DeskEnds,
    logger: &Logger,
) {
    let new = match load() {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("reload: {error}; the old configuration stays in force");
            return;
        }
    };
    if let Err(error) = ends.orders.reload(new.knobs()) {
        tracing::error!("reload: {error}");
        return;
    }
    logger.set_level(new.log.level);
    for part in config.needs_restart(&new) {
        tracing::warn!("reload: a change in {part} takes effect at the next start");
    }
    config.take_reloadable(&new);
    tracing::info!(event = "reloaded", "configuration reloaded");
}

/// Somebody has killed the process behind the pid in anvil: sleepers get another.
fn revive(helper: &mut Helper, anvil_pid: &AtomicU32) {
    if helper.is_running() {
        return;
    }
    match Helper::start() {
        Ok(new) => {
            anvil_pid.store(new.pid(), Ordering::Relaxed);
            *helper = new;
        }
        Err(error) => tracing::error!("the helper process cannot be started: {error}"),
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

/// Between two looks at paths and processes.
const LOOK_MS: u16 = 1000;
