//! The keeper, as far as the engine depends on it: while it lives, the engine's estate outlives the
//! engine. A new keeper takes the estate over from the engine that serves on; until then the two
//! must not die both.

use torpor_engine::planted::{Bug, planted};

use crate::faults::Fault;
use crate::world::World;

impl World {
    pub fn run_keeper(&mut self) {
        let Some(from_ms) = self.kept_from_ms else {
            if self.fault(Fault::KeeperKilled, 300) {
                self.kept_from_ms = Some(self.mono_ms + self.random.ms(1, 1000));
                self.holds_estate = false;
                self.tell(|| "the keeper is KILLED".to_string());
            }
            return;
        };
        if from_ms <= self.mono_ms {
            self.kept_from_ms = None;
            self.holds_estate = !planted(Bug::EstateForgotten);
            self.tell(|| "a new keeper has taken over".to_string());
        }
    }

    /// True exactly when the estate has to outlive the engine.
    pub fn is_kept(&self) -> bool {
        self.kept_from_ms.is_none()
    }
}
