//! Engines are replaced one at a time by engines of the program that the keeper has become.

use std::time::{Duration, Instant};

use super::petition::Petition;
use crate::config::Config;
use crate::serve::binary::Binary;
use crate::serve::engine::EngineKeeper;

/// One under way: to a new program, or back.
pub struct Replacement {
    pub petition: Petition,
    pub since: Instant,
    pub course: Course,
    /// Which engine is being replaced, and when it must serve.
    current: Option<(u32, Instant)>,
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
        Self { petition, since, course, current: None }
    }

    /// Goes on with it. `serial` is that of the program that is to run.
    pub fn look(&mut self, engines: &mut [EngineKeeper], serial: u32) -> Progress {
        let Some(engine) = engines.iter_mut().find(|engine| !engine.serves_as(serial)) else {
            return Progress::Done;
        };
        let (number, now) = (engine.number(), Instant::now());
        if self.current.is_none_or(|(current, _)| current != number) {
            let within = Duration::from_micros(SERVES_WITHIN_US)
                + Duration::from_micros(TAKES_UP_US) * engine.slots_max();
            self.current = Some((number, now + within));
            engine.retire(serial);
        }
        let (_, until) = self.current.expect("set above");
        match engine.stumbled(serial) {
            Some(status) => {
                Progress::Failed(format!("the new engine {number} has ended: {status}"))
            }
            None if now > until => {
                Progress::Failed(format!("the new engine {number} does not serve"))
            }
            None => Progress::Goes,
        }
    }
}

/// An engine without clients serves within some 10 ms.
const SERVES_WITHIN_US: u64 = 5_000_000;
/// For each client that it might have, more than ten times what one takes.
const TAKES_UP_US: u64 = 50;
