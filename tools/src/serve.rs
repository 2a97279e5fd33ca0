//! `torpor serve`: the keeper, which starts all other processes and keeps them running.
//!
//! It binds the sockets and owns what must outlive an engine; it never reads a client, and has
//! almost no code that can fail. The engines serve the clients (`crate::engine`), the front, where
//! there is one, lets clients of our own log in.

mod binary;
mod charge;
mod engine;
mod front;
mod given;
mod helper;
mod host;
mod household;
mod keeper;
mod living;
mod living_front;
mod notify;
mod offspring;
mod options;
mod orphans;
mod outage;
mod pause;
mod petition;
mod porter;
mod resume;
mod signals;
mod sockets;
mod stop;
mod upgrade;
mod watcher;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use caps::{CapSet, Capability};

use crate::config::Config;
use crate::log::Logger;

use binary::Binary;
use engine::EngineKeeper;
use front::FrontKeeper;
use given::Given;
use keeper::Keeper;
use living::Living;
use living_front::LivingFront;
use notify::Notifier;
use sockets::Sockets;

pub use helper::run as run_helper;
pub use host::{Host, Judgement};
pub use options::ServeOptions;
pub use petition::{Question, Verdict, ask};
pub use resume::{Errand, resume};
pub use signals::{Asked, Signals};
pub use stop::end_left;
pub use upgrade::rehearse;

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
    let left = match Left::find(&config.base_dir) {
        Ok(left) => left,
        Err(error) => return fail(&error),
    };
    let logger = Logger::start(&config.log, LINES_MAX);
    for warning in &judgement.warnings {
        tracing::warn!("{warning}");
    }
    exit_code(serve(options, &config, left, &signals, &logger))
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

/// What a keeper before us has left running.
struct Left {
    engines: Vec<Living>,
    front: Option<LivingFront>,
}

impl Left {
    /// Takes it. What that takes of privileges is given up afterwards.
    fn find(base_dir: &Path) -> io::Result<Self> {
        let engines = Living::find(base_dir)?;
        let front = LivingFront::find(base_dir);
        give_up_tracing();
        Ok(Self { engines, front })
    }

    /// What is in force: of what is fixed at start, what the engines were started with.
    fn config(&self, new: &Config) -> Config {
        self.engines.first().map_or(new, |living| &living.config).clone()
    }
}

/// It takes CAP_SYS_PTRACE to take over an engine, and never after the start.
fn give_up_tracing() {
    // The bounding set first: a program that this process becomes (`upgrade`) and that gained a
    // capability by it would not be dumpable, and could not start programs by descriptor.
    let sets = [CapSet::Bounding, CapSet::Effective, CapSet::Permitted];
    // Whoever has none, or no CAP_SETPCAP, gives up nothing.
    let _ = sets.iter().try_for_each(|set| caps::drop(None, *set, Capability::CAP_SYS_PTRACE));
}

fn serve(
    options: &ServeOptions,
    new: &Config,
    left: Left,
    signals: &Signals,
    logger: &Logger,
) -> io::Result<()> {
    let config = left.config(new);
    let Left { engines: living, front } = left;
    let mut given = Given::from_env();
    let front = front.map(|front| front.give(&config, &mut given));
    living.first().map_or(Ok(()), |living| living.give(&mut given))?;
    let front = FrontKeeper::open(options, &config, &mut given, front)?;
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
        asker: None,
    };
    match start(&mut keeper, living, new) {
        Ok(true) => keeper.keep(),
        // There may be sleepers, who are owed a BYE: engines serve before we hear of it.
        Ok(false) => keeper.stop(None),
        Err(error) => {
            keeper.give_up();
            Err(error)
        }
    }
}

/// Takes over the engines that live, starts the others, and the front when they serve. `false`:
/// told to stop before.
fn start(keeper: &mut Keeper<'_>, living: Vec<Living>, new: &Config) -> io::Result<bool> {
    let Keeper { config, binary, sockets, engines, .. } = keeper;
    for living in living {
        engines.push(EngineKeeper::take_over(living, config)?);
    }
    let limits = Host::raise().limits(config);
    for number in 1..=config.engines {
        if !engines.iter().any(|engine| engine.number() == number) {
            engines.push(EngineKeeper::start(number, config, &limits, sockets, binary)?);
        }
    }
    if engines.iter().any(EngineKeeper::is_found) {
        keeper.take_up(new);
    }
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
    keeper.store();
    Ok(true)
}

fn check(mut config: Config, host: &Host) -> ExitCode {
    let judgement = host.judge(&config);
    config.sleep.slots_max = Some(host.limits(&config).slots_max);
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
