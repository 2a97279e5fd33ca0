//! `torpor serve`: the keeper, which starts all other processes and keeps them running.
//!
//! It binds the sockets and owns what must outlive an engine; it never reads a client, and has
//! almost no code that can fail. The engines serve the clients (`crate::engine`), the front, where
//! there is one, lets clients of our own log in.

mod binary;
mod engine;
mod front;
mod given;
mod helper;
mod host;
mod household;
mod keeper;
mod notify;
mod offspring;
mod options;
mod orphans;
mod outage;
mod pause;
mod porter;
mod resume;
mod signals;
mod sockets;
mod upgrade;

use std::io;
use std::process::ExitCode;

use crate::config::Config;
use crate::log::Logger;

use binary::Binary;
use engine::EngineKeeper;
use front::FrontKeeper;
use given::Given;
use keeper::Keeper;
use notify::Notifier;
use sockets::Sockets;

pub use helper::run as run_helper;
pub use host::{Host, Judgement};
pub use options::ServeOptions;
pub use resume::{Errand, resume};
pub use signals::{Asked, Signals};
pub use upgrade::{Verdict, ask as upgrade, rehearse};

/// Serves until it is told to stop. Exit codes: 0 told to, 1 could not start or broke.
pub fn run(options: &ServeOptions) -> ExitCode {
    let config = match options.load() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let signals = match Signals::block() {
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
    let logger = Logger::start(&config.log, LINES_MAX);
    for warning in &judgement.warnings {
        tracing::warn!("{warning}");
    }
    exit_code(serve(options, config, &host, &signals, &logger))
}

fn exit_code(result: io::Result<()>) -> ExitCode {
    match result {
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
    signals: &Signals,
    logger: &Logger,
) -> io::Result<()> {
    let mut given = Given::from_env();
    let front = FrontKeeper::open(options, &config, &mut given)?;
    if !signals.wait_for_dir(&config.base_dir)? {
        return Ok(());
    }
    let sockets = Sockets::open(&config, &mut given)?;
    given.complain();
    let (engines, notifier) = (Vec::new(), Notifier::default());
    let binary = Binary::own()?;
    let mut keeper = Keeper {
        config,
        binary,
        sockets,
        engines,
        front,
        signals,
        logger,
        notifier,
        options,
        upgrade: None,
    };
    let started = start(&mut keeper, host);
    if !matches!(started, Ok(true)) {
        keeper.kill_engines();
        return started.map(drop);
    }
    keeper.keep()
}

/// Starts the engines, and the front when they serve. `false`: told to stop before.
fn start(keeper: &mut Keeper<'_>, host: &Host) -> io::Result<bool> {
    let Keeper { config, binary, sockets, .. } = &*keeper;
    let limits = host.limits(config);
    let engines = (1..=config.engines)
        .map(|number| EngineKeeper::start(number, config, &limits, sockets, binary));
    keeper.engines = engines.collect::<io::Result<_>>()?;
    if !keeper.wait_until_ready()? {
        return Ok(false);
    }
    let engines = keeper.config.engines;
    let slots_max = u64::from(limits.slots_max) * u64::from(engines);
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        slots_max,
        engines,
        "torpor {} serves {} for up to {slots_max} clients",
        env!("CARGO_PKG_VERSION"),
        keeper.config.hibernate_path().display()
    );
    if let Some(front) = &mut keeper.front {
        front.start()?;
        tracing::info!("mail clients connect to {}", front.address());
    }
    keeper.notifier.ready();
    Ok(true)
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

/// Lines that wait for the reader of standard error; the engines have queues of their own.
const LINES_MAX: usize = 256;
