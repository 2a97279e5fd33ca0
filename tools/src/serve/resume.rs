//! The beginning of a program that goes on where another one was, in the same process.

use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use torpor_engine::sys::inherited;

use super::binary::Binary;
use super::engine::EngineKeeper;
use super::front::{self, FrontKeeper};
use super::household::Household;
use super::keeper::Keeper;
use super::notify::Notifier;
use super::sockets::Sockets;
use super::upgrade::{Course, Replacement, Upgrade};
use super::{Host, LINES_MAX, ServeOptions, Signals};
use crate::config::Config;
use crate::log::Logger;

/// What was left to this program, and where it leads.
pub enum Errand {
    /// The number of the household, and that of the program before.
    Forth(RawFd, RawFd),
    /// The number of the household, and why the new program does not go on.
    Back(RawFd, String),
}

/// What is made before anything is taken over: while it is, the way back is open.
struct Ready {
    household: Household,
    config: Config,
    config_before: Config,
    user: Option<nix::unistd::User>,
    signals: Signals,
    logger: Logger,
}

/// Goes on serving until it is told to stop. Exit codes as of [`super::run`].
pub fn resume(options: &ServeOptions, errand: Errand) -> ExitCode {
    let (number, before) = match &errand {
        Errand::Forth(number, before) => (*number, Some(*before)),
        Errand::Back(number, _) => (*number, None),
    };
    let ready = catch_unwind(AssertUnwindSafe(|| Ready::new(options, number, before.is_some())));
    let why = match ready {
        Ok(Ok(ready)) => return ready.serve(options, number, errand),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it has panicked, see its log".to_owned(),
    };
    eprintln!("torpor: cannot go on: {why}");
    if let Some(before) = before {
        eprintln!("torpor: no way back: {}", go_back(options, number, before, &why));
    }
    ExitCode::FAILURE
}

/// Becomes the program before again: nothing has been taken over yet.
fn go_back(options: &ServeOptions, number: RawFd, before: RawFd, why: &str) -> io::Error {
    let because = format!("the new program cannot go on: {why}");
    let mut arguments = options.to_go_on(["--because".into(), because.into()]);
    arguments.extend(["--resume".into(), number.to_string().into()]);
    match inherited(before).and_then(Binary::over) {
        Ok(binary) => binary.execute(arguments, Default::default()),
        Err(error) => error,
    }
}

impl Ready {
    fn new(options: &ServeOptions, number: RawFd, is_new: bool) -> io::Result<Self> {
        let household = Household::read(number)?;
        let config_before = household.config()?;
        let mut config = config_before.clone();
        let new = is_new.then(|| options.load()).transpose().map_err(io::Error::other)?;
        let signals = Signals::block()?;
        Host::raise();
        let user = front::user_of(&config)?;
        let logger = Logger::start(&config.log, LINES_MAX);
        if let Some(new) = new {
            for part in config.needs_restart(&new) {
                tracing::warn!("upgrade: a change in {part} takes effect at the next start");
            }
            config.take_reloadable(&new);
            logger.set_level(config.log.level);
        }
        Ok(Self { household, config, config_before, user, signals, logger })
    }

    fn serve(self, options: &ServeOptions, number: RawFd, errand: Errand) -> ExitCode {
        let Self { household, config, config_before, user, signals, logger } = self;
        let keep = || {
            drop(inherited(number)?);
            let Household { version, binary, sockets, engines, front, upgrade, .. } = household;
            let (petition, since) = upgrade.unpack()?;
            let (next, before) = (Binary::unpack(binary)?, upgrade.before.map(Binary::unpack));
            let (binary, course) = match (errand, before.transpose()?) {
                (Errand::Forth(..), Some(before)) => {
                    let config = Box::new(config_before);
                    (next, Course::Forth { from: version, before, config })
                }
                (Errand::Forth(..), None) => return Err(io::ErrorKind::InvalidData.into()),
                // The new one has got nowhere, or has written this itself.
                (Errand::Back(_, because), before) => {
                    (before.unwrap_or(next), Course::Back { because })
                }
            };
            let unpack = |front| FrontKeeper::unpack(front, options, user);
            let replacement = Replacement::new(petition, since, course);
            Keeper {
                config,
                binary,
                sockets: Sockets::unpack(sockets)?,
                engines: engines
                    .into_iter()
                    .map(EngineKeeper::unpack)
                    .collect::<io::Result<_>>()?,
                front: front.map(unpack).transpose()?,
                signals: &signals,
                logger: &logger,
                notifier: Notifier::default(),
                options,
                upgrade: Some(Upgrade::Replacement(replacement)),
                asker: None,
            }
            .keep()
        };
        super::exit_code(keep())
    }
}
