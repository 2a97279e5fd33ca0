//! The machine: completions, replies and the time go in, actions come out.
use crate::action::Actions;
use crate::limits::{Knobs, Limits};
use crate::report::Counters;
use crate::ring::Inbox;

/// The time, as the caller has it: the core reads no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_BOOTTIME, milliseconds. Deadlines live here.
    pub mono_ms: u64,
    /// CLOCK_REALTIME, microseconds since the epoch. For keepalive phases and time stamps only.
    pub wall_us: u64,
}

/// The engine's core. See the module.
pub struct Core {
    counters: Counters,
    limits: Limits,
    knobs: Knobs,
}

impl Core {
    /// Reserves everything that the limits allow for; `seed` feeds the jitter.
    pub fn new(limits: &Limits, knobs: Knobs, seed: u64) -> Self {
        assert!(seed != 0, "a zero seed has no jitter");
        Self { counters: Counters::default(), limits: limits.clone(), knobs }
    }

    /// Conversations at once.
    pub fn handoffs_in_flight_max(&self) -> usize {
        self.limits.handoffs_in_flight_max as usize
    }

    /// Arms accept, the shared inotify instance and the doorbell.
    pub fn start(&mut self, _actions: &mut Actions) {}

    /// One step.
    pub fn step(&mut self, _inbox: &mut Inbox, _now: Now, _actions: &mut Actions) {
        let _ = &self.knobs;
    }

    /// When the core next wants a step even if nothing happens, on the clock of
    /// [`Now::mono_ms`].
    pub fn next_deadline_ms(&self) -> Option<u64> {
        None
    }

    /// Counts and gauges.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
