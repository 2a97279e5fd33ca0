//! How the keeper of an engine comes to one that it has not started.

use std::io;

use super::process::Process;
use super::{EngineKeeper, Estate, Helper, Link, Word};
use crate::config::Config;
use crate::serve::living::Living;

impl EngineKeeper {
    /// Takes over one that has lost its keeper. Must be called by a thread that lives as long as
    /// it.
    ///
    /// # Errors
    /// The host has no room for a helper. (If the engine has ended meanwhile, an heir is started.)
    pub fn take_over(living: Living, config: &Config) -> io::Result<Self> {
        let link = living.greet();
        let Living { number, charge, claim, contents, .. } = living;
        let (pid, estate) = (charge.pid(), Estate::of_living(config, contents));
        // One that has ended has no door any more, and its end is seen with whatever link.
        let link = link.or_else(|_| Link::pair().map(|(link, _)| link))?;
        let process = Process::found(charge, link, claim);
        let mut engine = Self::new(number, Helper::start()?, estate, Some(process));
        engine.has_clients = true;
        engine.tell(Word::AnvilPid, &engine.helper.pid().to_string(), None);
        tracing::info!(
            event = "engine_taken_over",
            engine = number,
            "engine {number} (process {pid}) has lost its keeper and was taken over"
        );
        Ok(engine)
    }
}
