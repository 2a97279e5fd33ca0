//! How long a wake waits for us: from the step that sends it, which begins when its completion has
//! been reaped, to the descriptor's sendmsg. The waits for connect and for the worker's VERSION
//! are not ours, and left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Counts, written by the handoff thread and read by any.
#[derive(Debug, Default)]
pub struct Delays {
    /// By bound, and those beyond the last.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What they were at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delayed {
    /// How many were within each bound and beyond the one before; the last: beyond all.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All together, in microseconds.
    pub sum_us: u64,
}

impl Delays {
    pub(crate) fn add(&self, delay_us: u64) {
        let at = BOUNDS_US.partition_point(|bound_us| *bound_us < delay_us);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(delay_us, Ordering::Relaxed);
    }

    /// As of now; a wake that is being counted may be in one figure and not yet in the other.
    pub fn load(&self) -> Delayed {
        let counts = std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed));
        Delayed { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// Of the wall clock, which engine and handoff thread have in common.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_micros()).expect("584 thousand years")
}

/// Upper bounds, in microseconds.
pub const BOUNDS_US: [u64; 7] = [50, 100, 150, 200, 300, 500, 1000];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_counted_once_and_at_its_bound() {
        let delays = Delays::default();
        let all = [0, 50, 51, 200, 201, 1000, 1001, u64::from(u32::MAX)];
        all.iter().for_each(|delay_us| delays.add(*delay_us));
        let Delayed { counts, sum_us } = delays.load();
        assert_eq!(counts, [2, 1, 0, 1, 1, 0, 1, 2]);
        assert_eq!(sum_us, 50 + 51 + 200 + 201 + 1000 + 1001 + u64::from(u32::MAX));
    }
}
