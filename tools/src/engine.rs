//! An engine process: started by the keeper, and told everything over its link.
//!
//! The main thread owns signals and the link; the engine thread owns the clients; what surrounds
//! them may wait for them, and they for nobody. It goes on when its keeper is gone.

mod around;
mod handoff;
mod kit;
mod parts;
mod privileges;
mod seccomp;
mod watch;

use std::io;
use std::process::ExitCode;

use torpor_engine::sys::dense::Dense;
use torpor_engine::watcher::Marks;

use crate::link::{Link, Word};
use crate::log::Logger;
use crate::serve::{Host, Signals};

use around::Around;
use kit::Kit;
use parts::Parts;

/// Serves as the engine of this number until it is told to stop. Exit codes: 0 told to, 1 could
/// not start or broke.
pub fn run(number: u32) -> ExitCode {
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
    let limits = Host::raise().limits(&kit.config);
    // Loading its programs takes more than an engine keeps, and so does marking filesystems.
    let (marks, unmarked) = Marks::make(&kit.config.watch.fanotify_dirs);
    let dense = kit.config.sleep.dense.then(|| Dense::create(limits.slots_max));
    privileges::give_up(kit.config.user.as_deref())?;
    let logger = Logger::start(&kit.config.log, LINES_MAX);
    unmarked.iter().for_each(|line| tracing::warn!("{line}"));
    let parts = Parts::bring_up(&kit.config, &limits, kit.hibernate, dense, marks)?;
    let place = around::Place { number, anvil_pid: kit.anvil_pid, limits };
    let around = Around::start(&kit.config, &parts.ends, place, kit.listeners, &logger)?;
    if let Err(error) = seccomp::confine() {
        tracing::warn!(event = "unconfined", "no seccomp filter: {error}");
    }
    link.send(Word::Ready, "", None)?;
    watch::watch(parts, around, kit.config, &link, &signals, &logger)
}

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "engine";
/// Lines that wait for the reader of standard error.
const LINES_MAX: usize = 16_384;
