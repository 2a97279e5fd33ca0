//! `torpor upgrade`: this process becomes a new program, then replaces its engines, while clients
//! sleep.
//!
//! ```text
//!  petition ──► rehearsal ──► exec ──► replacement, one engine after the other ──► done
//!                  │ no         │ fails                │ an engine does not serve
//!                  ▼            ▼                      ▼
//!               refused      refused        exec back, replacement back, refused
//! ```
//! Whatever does not work, what ran before runs on; the operator is told which it is.

mod rehearsal;
mod replacement;

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use super::binary::{self, Binary};
use super::engine::EngineKeeper;
use super::household::Household;
use super::keeper::Keeper;
use super::petition::{Petition, Verdict};
use crate::config::Config;
use crate::luggage::Luggage;
use replacement::Progress;

pub use rehearsal::{Rehearsal, rehearse};
pub use replacement::{Course, Replacement};

/// One under way.
pub enum Upgrade {
    Rehearsal { rehearsal: Rehearsal, petition: Petition, binary: Binary, since: Instant },
    Replacement(Replacement),
}

impl Upgrade {
    /// Of its child, if it has one.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Rehearsal { rehearsal, .. } => Some(rehearsal.pid()),
            Self::Replacement(_) => None,
        }
    }
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    petition: RawFd,
    /// For how long it has been under way.
    since_ms: u64,
    /// The program that has written this, if there is a way back to it.
    pub before: Option<binary::Note>,
}

impl Note {
    fn new<'a>(
        petition: &'a Petition,
        since: Instant,
        before: Option<&'a Binary>,
        luggage: &mut Luggage<'a>,
    ) -> Self {
        let since_ms = since.elapsed().as_millis() as u64;
        let petition = luggage.pack(petition);
        Self { petition, since_ms, before: before.map(|before| before.note(luggage)) }
    }

    /// The operator who waits, and since when.
    ///
    /// # Errors
    /// His descriptor is not open.
    pub fn unpack(&self) -> io::Result<(Petition, Instant)> {
        let since = Instant::now().checked_sub(Duration::from_millis(self.since_ms));
        let petition = Petition::unpack(inherited(self.petition)?);
        Ok((petition, since.unwrap_or_else(Instant::now)))
    }
}

impl Keeper<'_> {
    /// An operator asks for this program.
    pub fn upgrade_to(&mut self, path: &Path, petition: Petition) {
        assert!(self.upgrade.is_none(), "nobody is heard while another one waits");
        self.notifier.reloading();
        tracing::info!(event = "upgrade_asked", "an upgrade to {} is asked for", path.display());
        match self.consider(path) {
            Ok(Some(binary)) => self.rehearse(petition, binary),
            Ok(None) => {
                let done = "this very program runs already; its configuration was read anew";
                let verdict = match self.reload() {
                    Ok(()) => Verdict::Upgraded(done.to_owned()),
                    Err(error) => refused(&error),
                };
                self.close(petition, verdict);
            }
            Err(error) => self.close(petition, refused(&error)),
        }
    }

    /// Goes on with the upgrade that is under way.
    pub fn look_at_upgrade(&mut self) {
        match self.upgrade.take() {
            None => {}
            Some(Upgrade::Rehearsal { mut rehearsal, petition, binary, since }) => {
                match rehearsal.result() {
                    None => {
                        let under_way = Upgrade::Rehearsal { rehearsal, petition, binary, since };
                        self.upgrade = Some(under_way);
                    }
                    Some(Ok(())) => self.go_forth(petition, &binary, since),
                    Some(Err(why)) => self.close(petition, refused(&why)),
                }
            }
            Some(Upgrade::Replacement(mut replacement)) => {
                match replacement.look(&mut self.engines, self.binary.serial()) {
                    Progress::Goes => self.upgrade = Some(Upgrade::Replacement(replacement)),
                    Progress::Done => self.finish(replacement),
                    Progress::Failed(why) => self.go_back(replacement, why),
                }
            }
        }
    }

    /// The program at a path; `None`: it is what runs.
    fn consider(&self, path: &Path) -> io::Result<Option<Binary>> {
        if !self.engines.iter().all(EngineKeeper::lasts) {
            let why = "this kernel has no vault, so clients would be lost with their engines";
            return Err(io::Error::other(why));
        }
        let binary = self.binary.next(path)?;
        Ok((!self.binary.is(&binary)?).then_some(binary))
    }

    fn rehearse(&mut self, petition: Petition, binary: Binary) {
        let since = Instant::now();
        // Estates alone are looked into. Whoever had more, and hung, would be in the way of a
        // keeper that takes over when this one is killed.
        let (mut rest, mut estates) = (Luggage::default(), Luggage::default());
        let note = Note::new(&petition, since, Some(&self.binary), &mut rest);
        let household = self.household(&self.config, &binary, note, &mut rest);
        let lent = self.engines.iter().try_for_each(|engine| engine.lend_estate(&mut estates));
        let rehearsal = lent
            .and(household)
            .and_then(|household| Rehearsal::start(self.options, &binary, &household, estates));
        match rehearsal {
            Ok(rehearsal) => {
                self.upgrade = Some(Upgrade::Rehearsal { rehearsal, petition, binary, since });
            }
            Err(error) => self.close(petition, refused(&error)),
        }
    }

    /// Becomes the new program. Returns only if that fails.
    fn go_forth(&self, petition: Petition, binary: &Binary, since: Instant) {
        let mut luggage = Luggage::default();
        let note = Note::new(&petition, since, Some(&self.binary), &mut luggage);
        let error = match self.household(&self.config, binary, note, &mut luggage) {
            Ok(household) => {
                self.logger.settle();
                let before = self.binary.as_fd().as_raw_fd().to_string();
                let arguments = self.options.to_go_on(["--before".into(), before.into()]);
                household.pass_to(binary, arguments, luggage)
            }
            Err(error) => error,
        };
        self.close(petition, refused(&error));
    }

    /// Becomes the old program again. If even that fails the new one goes on as well as it can.
    fn go_back(&mut self, replacement: Replacement, why: String) {
        let Replacement { petition, since, course, .. } = replacement;
        let Course::Forth { before, config, .. } = course else {
            unreachable!("on the way back there is no other way");
        };
        let mut luggage = Luggage::default();
        let note = Note::new(&petition, since, None, &mut luggage);
        let error = match self.household(&config, &before, note, &mut luggage) {
            Ok(household) => {
                self.logger.settle();
                let arguments = self.options.to_go_on(["--because".into(), why.clone().into()]);
                household.pass_to(&before, arguments, luggage)
            }
            Err(error) => error,
        };
        let text = format!("{why}; there is no way back: {error}; torpor {VERSION} is left");
        self.close(petition, Verdict::Refused(text));
    }

    /// All engines run what the keeper runs, or, on the way back, nothing.
    fn finish(&mut self, replacement: Replacement) {
        if let Some(front) = &mut self.front {
            front.retire();
        }
        let trouble = replacement.trouble();
        let verdict = match (replacement.course, trouble) {
            (Course::Back { because }, None) => refused(&because),
            (Course::Back { because }, Some(trouble)) => Verdict::Refused(format!(
                "{because}; torpor {VERSION} is back, but {trouble}; its clients are held"
            )),
            (Course::Forth { from, .. }, _) => {
                let took_ms = replacement.since.elapsed().as_millis();
                let count = self.engines.len();
                let engines = if count == 1 { "engine" } else { "engines" };
                Verdict::Upgraded(format!(
                    "upgraded from {from} to {VERSION} in {took_ms} ms, {count} {engines} replaced"
                ))
            }
        };
        self.close(replacement.petition, verdict);
    }

    /// Tells everybody how it has ended.
    fn close(&self, petition: Petition, verdict: Verdict) {
        match &verdict {
            Verdict::Upgraded(text) => tracing::info!(event = "upgraded", "{text}"),
            other => {
                tracing::error!(event = "upgrade_refused", "no upgrade: {}", other.text());
            }
        }
        self.notifier.ready();
        petition.answer(&verdict);
    }

    /// All that is kept, for `binary` to keep it with `config`.
    fn household<'a>(
        &'a self,
        config: &Config,
        binary: &'a Binary,
        upgrade: Note,
        luggage: &mut Luggage<'a>,
    ) -> io::Result<Household> {
        let binary = binary.note(luggage);
        let sockets = self.sockets.note(luggage);
        let engines = self.engines.iter().map(|engine| engine.note(luggage));
        let engines = engines.collect::<io::Result<_>>()?;
        let front = self.front.as_ref().map(|front| front.note(luggage));
        Household::new(config, binary, sockets, engines, front, upgrade)
    }
}

/// Nothing has changed.
fn refused(why: &dyn Display) -> Verdict {
    Verdict::Refused(format!("{why}; torpor {VERSION} serves as before"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
