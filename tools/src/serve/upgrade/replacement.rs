//! Engines are replaced one at a time by engines of the program that the keeper has become.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::serve::binary::Binary;
use crate::serve::engine::EngineKeeper;
use crate::serve::petition::Petition;

/// One under way: to a new program, or back.
pub struct Replacement {
    pub petition: Petition,
    pub since: Instant,
    pub course: Course,
    /// Which engine is being replaced, and when it must serve.
    current: Option<(u32, Instant)>,
    /// On the way back: engines that are left to the path of a crash, and what is wrong with them.
    troubles: Vec<(u32, String)>,
}

/// Where it leads.
pub enum Course {
    /// From the program before, with the configuration that it had in force.
    Forth { from: String, before: Binary, config: Box<Config> },
    /// Back to the program before, since the new one has failed.
    Back { because: String },
}

/// How it stands.
pub enum Progress {
    Goes,
    Done,
    /// A new engine does not serve.
    Failed(String),
}

impl Replacement {
    pub fn new(petition: Petition, since: Instant, course: Course) -> Self {
        Self { petition, since, course, current: None, troubles: Vec::new() }
    }

    /// Goes on with it. `serial` is that of the program that is to run.
    pub fn look(&mut self, engines: &mut [EngineKeeper], serial: u32) -> Progress {
        let is_left = |number| self.troubles.iter().any(|(left, _)| *left == number);
        let next =
            |engine: &&mut EngineKeeper| !engine.serves_as(serial) && !is_left(engine.number());
        let Some(engine) = engines.iter_mut().find(next) else { return Progress::Done };
        let (number, now) = (engine.number(), Instant::now());
        let until = match self.current {
            Some((current, until)) if current == number => until,
            _ => {
                engine.retire(serial);
                let clients = Duration::from_micros(TAKES_UP_US) * engine.slots_max();
                now + Duration::from_micros(SERVES_WITHIN_US) + clients
            }
        };
        self.current = Some((number, until));
        let trouble = match engine.stumbled(serial) {
            Some(status) => format!("engine {number} has ended: {status}"),
            None if now > until => format!("engine {number} does not serve"),
            None => return Progress::Goes,
        };
        match self.course {
            Course::Forth { .. } => Progress::Failed(format!("the new {trouble}")),
            Course::Back { .. } => {
                self.troubles.push((number, trouble));
                Progress::Goes
            }
        }
    }

    /// What is wrong with the engines that were left, if anything is.
    pub fn trouble(&self) -> Option<String> {
        let troubles: Vec<&str> =
            self.troubles.iter().map(|(_, trouble)| trouble.as_str()).collect();
        (!troubles.is_empty()).then(|| troubles.join(", "))
    }
}

/// An engine without clients serves within some 10 ms.
const SERVES_WITHIN_US: u64 = 5_000_000;
/// For each client that it might have, more than ten times what one takes.
const TAKES_UP_US: u64 = 50;
