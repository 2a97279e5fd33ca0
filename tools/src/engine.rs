//! An engine process: started by the keeper with all that it needs, and told of what changes over
//! its link.
//!
//! The main thread owns signals and the link; the engine thread owns the clients; what surrounds
//! them may wait for them, and they for nobody. It goes on when its keeper is gone, and a new one
//! comes in through its door (`hands.rs`).

mod around;
mod handoff;
mod hands;
mod heir;
mod parts;
pub mod privileges;
pub mod seccomp;
mod watch;

use std::process::ExitCode;
use std::{io, panic, process};

use torpor_engine::watcher::Marks;

use crate::link::Word;
use crate::log::Logger;
use crate::serve::{Host, Signals};

pub use privileges::allow_tracing;

use around::{Around, Place};
use hands::Hands;
use heir::Heir;
use parts::Parts;

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
    let (kit, Hands { link, door, sockets }) = Hands::take()?;
    let config = kit.config.share(number);
    Host::raise();
    // It takes more than an engine keeps.
    let (marks, unmarked) = Marks::make(&config.watch.fanotify_dirs);
    privileges::give_up(config.user.as_deref(), &privileges::OF_ENGINE)?;
    let logger = Logger::start(&config.log, LINES_MAX);
    unmarked.iter().for_each(|line| tracing::warn!("{line}"));
    let policy = (config.knobs(), parts::seed(), parts::now());
    let heir = Heir::take(&kit.estate, policy, &link)?;
    let (hibernate, control, metrics) = sockets.share()?;
    let parts = Parts::bring_up(&config, heir, hibernate, marks)?;
    let place = Place { number, anvil_pid: kit.anvil_pid, limits: parts.limits.clone() };
    let around = Around::start(&config, &parts.ends, place, (control, metrics), &logger)?;
    if let Err(error) = seccomp::confine(&seccomp::OF_ENGINE) {
        tracing::warn!(event = "unconfined", "no seccomp filter: {error}");
    }
    if parts.begun.recv().is_ok() {
        // A keeper that is gone is not missed.
        let _ = link.send(Word::Ready, "", None);
    }
    watch::watch(parts, around, config, (link, door, sockets), &signals, &logger)
}

/// A panic of any thread ends the process as a kill does, and its heir goes on: none of the other
/// threads is to act on half of what was known.
pub fn die_of_panics() {
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
