//! Whom the engine that was asked asks in turn: the front, and the other engines.
//!
//! Each engine answers on a socket of its own for itself alone. Operators see one torpor: whoever
//! took their connection puts the answers together.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ask::{Asked, Console};
use super::types::{Request, Stats};
use crate::config::Config;
use crate::front;

/// Where they are.
#[derive(Clone, Debug)]
pub struct Others {
    /// The control socket of the front, where there is one.
    front: Option<PathBuf>,
    /// Number and own socket of each other engine.
    engines: Vec<(u32, PathBuf)>,
}

impl Others {
    /// As seen from the engine of this number.
    pub fn new(config: &Config, number: u32) -> Self {
        let maildir = config.front.maildir.as_ref();
        let numbers = (1..=config.engines).filter(|other| *other != number);
        Self {
            front: maildir.map(|_| front::control_path(&config.base_dir)),
            engines: numbers.map(|other| (other, engine_path(&config.base_dir, other))).collect(),
        }
    }

    /// True when there is but one engine.
    pub fn is_alone(&self) -> bool {
        self.engines.is_empty()
    }

    /// What each other engine answers. One that is being started again is an error.
    pub fn ask(&self, request: &Request) -> impl Iterator<Item = io::Result<Asked>> {
        self.engines.iter().map(move |(number, path)| {
            let answered = ask(path, request);
            answered.map_err(|error| io::Error::other(format!("engine {number}: {error}")))
        })
    }

    /// The front's half of an answer; nothing where there is no front, or none at the moment.
    pub fn ask_front(&self, request: &Request) -> Asked {
        let asked = self.front.as_ref().map(|path| ask(path, request));
        asked.and_then(Result::ok).unwrap_or_default()
    }

    /// The front's gauges and totals.
    pub fn front_counts(&self) -> BTreeMap<String, u64> {
        self.ask_front(&Request::Stats {}).stats.map(|stats| stats.counters).unwrap_or_default()
    }
}

impl Stats {
    /// The figures of several engines are those of one that would do the work of all.
    pub fn add(&mut self, other: Self) {
        let Self { counters, limits, losses, engines, uptime_secs, .. } = other;
        for (name, value) in counters {
            let sum = self.counters.entry(name.clone()).or_default();
            // An age is not a count.
            *sum = if name == OLDEST { value.max(*sum) } else { *sum + value };
        }
        let pairs = [(&mut self.limits, limits), (&mut self.losses, losses)];
        for (ours, theirs) in pairs {
            theirs.into_iter().for_each(|(name, value)| *ours.entry(name).or_default() += value);
        }
        self.uptime_secs = self.uptime_secs.max(uptime_secs);
        self.engines.extend(engines);
        self.engines.sort_by_key(|engine| engine.number);
    }
}

/// Where an engine answers for itself alone.
pub fn engine_path(base_dir: &Path, number: u32) -> PathBuf {
    base_dir.join(format!("torpor-engine-{number}.sock"))
}

fn ask(path: &Path, request: &Request) -> io::Result<Asked> {
    Console::connect_within(path, WITHIN)?.ask(request)
}

/// An operator waits no longer for one that hangs.
const WITHIN: Duration = Duration::from_secs(2);
const OLDEST: &str = "queue_oldest_ms";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{EngineStats, named};

    #[test]
    fn counts_add_up_and_ages_do_not() {
        let of = |number, asleep, oldest| Stats {
            counters: named(&[("asleep", asleep), (OLDEST, oldest)]),
            engines: vec![EngineStats { number, ..EngineStats::default() }],
            ..Stats::default()
        };
        let mut all = of(2, 5, 900);
        all.add(of(1, 7, 300));
        assert_eq!(all.counters, named(&[("asleep", 12), (OLDEST, 900)]));
        let numbers: Vec<u32> = all.engines.iter().map(|engine| engine.number).collect();
        assert_eq!(numbers, [1, 2]);
    }
}
