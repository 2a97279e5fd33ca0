//! An engine process: started by the keeper, and told everything over its link.
//!
//! The main thread owns signals and the link; the engine thread owns the clients; what surrounds
//! them may wait for them, and they for nobody. It goes on when its keeper is gone.

mod around;
mod handoff;
mod heir;
mod kit;
mod parts;
mod privileges;
mod seccomp;
mod watch;

use std::process::ExitCode;
use std::{io, panic, process};

use torpor_engine::watcher::Marks;

use crate::link::{Link, Word};
use crate::log::Logger;
use crate::serve::{Host, Signals};

use around::Around;
use heir::Heir;
use kit::Kit;
use parts::Parts;

pub use kit::read as read_config;

/// Serves as the engine of this number until it is told to stop. Exit codes: 0 told to, 1 could
/// not start or broke.
pub fn run(number: u32) -> ExitCode {
    die_of_panics();
    match start(number) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor engine {number}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(number: u32) -> io::Result<()> {
    let signals = Signals::block()?;
    let link = Link::inherited()?;
    let kit = Kit::receive(&link)?;
    Host::raise();
    // It takes more than an engine keeps.
    let (marks, unmarked) = Marks::make(&kit.config.watch.fanotify_dirs);
    privileges::give_up(kit.config.user.as_deref())?;
    let logger = Logger::start(&kit.config.log, LINES_MAX);
    unmarked.iter().for_each(|line| tracing::warn!("{line}"));
    let policy = (kit.config.knobs(), parts::seed(), parts::now());
    let heir = Heir::take(&kit.estate, policy, &link)?;
    let parts = Parts::bring_up(&kit.config, heir, kit.hibernate, marks)?;
    let place = around::Place { number, anvil_pid: kit.anvil_pid, limits: parts.limits.clone() };
    let around = Around::start(&kit.config, &parts.ends, place, kit.listeners, &logger)?;
    if let Err(error) = seccomp::confine() {
        tracing::warn!(event = "unconfined", "no seccomp filter: {error}");
    }
    if parts.begun.recv().is_ok() {
        link.send(Word::Ready, "", None)?;
    }
    watch::watch(parts, around, kit.config, &link, &signals, &logger)
}

/// A panic of any thread ends the process as a kill does, and its heir goes on: none of the other
/// threads is to act on half of what was known.
fn die_of_panics() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        process::abort();
    }));
}

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "engine";
/// Lines that wait for the reader of standard error.
const LINES_MAX: usize = 16_384;
