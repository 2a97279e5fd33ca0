//! A watcher process: started by the keeper for one engine, with whose end it ends.
//!
//! It may open any mailbox by its handle, and nothing else that its user may not. Its standard
//! input is the connection to its engine.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use torpor_engine::watcher::serve;

use crate::config::Config;
use crate::engine::{die_of_panics, privileges, seccomp};
use crate::link::{Link, Message, Word};
use crate::serve::Host;

/// Watches for the engine of this number. Exit codes: 0 the engine is gone, 1 could not start or
/// broke.
pub fn run(number: u32) -> ExitCode {
    die_of_panics();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor watcher {number}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> io::Result<()> {
    let engine = io::stdin().as_fd().try_clone_to_owned()?;
    let config = configuration(&Link::over(engine.try_clone()?))?;
    Host::raise();
    privileges::give_up(config.user.as_deref(), &privileges::OF_WATCHER)?;
    if let Err(error) = seccomp::confine(&seccomp::OF_WATCHER) {
        eprintln!("torpor watcher: no seccomp filter: {error}");
    }
    serve(engine, config.ways())
}

/// The keeper has said it before the engine had the other end.
fn configuration(link: &Link) -> io::Result<Config> {
    match link.receive()? {
        Some(Message { word: Word::Config, text, .. }) => {
            Config::parse(Path::new("keeper"), &text).map_err(io::Error::other)
        }
        _ => Err(io::Error::other("the keeper has left the configuration out")),
    }
}

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "watcher";
