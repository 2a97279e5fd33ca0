//! `torpor serve`: brings the engine and what surrounds it up, and keeps watch over them.
//!
//! The main thread owns signals, sockets at paths and the helper process; the engine thread owns
//! the clients; nothing that the engine thread does waits for anything else here.

mod around;
mod engine;
mod front;
mod handoff;
mod helper;
mod host;
mod options;
mod orphans;
mod porter;
mod signals;
mod supervise;

use std::io;
use std::process::ExitCode;

use crate::config::Config;
use crate::log::Logger;

use front::FrontKeeper;

pub use helper::run as run_helper;
pub use host::{Host, Judgement};
pub use options::ServeOptions;

/// Serves until it is told to stop. Exit codes: 0 told to, 1 could not start or broke.
pub fn run(options: &ServeOptions) -> ExitCode {
    let config = match options.load() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let signals = match signals::Signals::block() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let host = Host::raise();
    if options.check {
        return check(config, &host);
    }
    let judgement = host.judge(&config);
    for refusal in &judgement.refusals {
        eprintln!("torpor: {refusal}");
    }
    if !judgement.refusals.is_empty() {
        return ExitCode::FAILURE;
    }
    let logger = Logger::start(&config.log);
    for warning in &judgement.warnings {
        tracing::warn!("{warning}");
    }
    match serve(options, config, &host, &signals, &logger) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    options: &ServeOptions,
    config: Config,
    host: &Host,
    signals: &signals::Signals,
    logger: &Logger,
) -> io::Result<()> {
    let mut front = FrontKeeper::open(options, &config)?;
    if !signals.wait_for_dir(&config.base_dir)? {
        return Ok(());
    }
    let limits = host.limits(&config);
    let slots_max = limits.slots_max;
    let parts = engine::Parts::bring_up(&config, limits)?;
    let served = config.hibernate_path();
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        slots_max,
        anvil_pid = parts.helper.pid(),
        "torpor {} serves {} for up to {slots_max} clients",
        env!("CARGO_PKG_VERSION"),
        served.display()
    );
    if let Some(front) = &mut front {
        front.start()?;
        tracing::info!("mail clients connect to {}", front.address());
    }
    let reload = || options.load();
    supervise::supervise(parts, front, config, signals, logger, &reload)
}

fn check(mut config: Config, host: &Host) -> ExitCode {
    let judgement = host.judge(&config);
    config.sleep.slots_max = Some(config.slots_max(host.files_max));
    match toml::to_string_pretty(&config) {
        Ok(text) => print!("{text}"),
        Err(error) => return fail(&error),
    }
    for warning in &judgement.warnings {
        println!("# warning: {warning}");
    }
    for refusal in &judgement.refusals {
        println!("# refused: {refusal}");
    }
    if judgement.refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("torpor: {error}");
    ExitCode::FAILURE
}
