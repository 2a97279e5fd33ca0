//! When a child process may be started again.

use std::time::{Duration, Instant};

/// At once after its first end, then after pauses that double. One that has run for ten times the
/// shortest pause begins anew: what ends again and again, but serves in between, is hardly away.
#[derive(Debug)]
pub struct Pause {
    shortest: Duration,
    longest: Duration,
    started: Instant,
    due: Instant,
    next: Duration,
}

impl Pause {
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        let now = Instant::now();
        Self { shortest, longest, started: now, due: now, next: Duration::ZERO }
    }

    /// The child runs.
    pub fn started(&mut self) {
        self.started = Instant::now();
    }

    /// The child has ended; says how long it rests.
    pub fn ended(&mut self) -> Duration {
        if self.started.elapsed() > self.shortest * RUN_PER_REST {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.due = Instant::now() + pause;
        self.next = (pause * 2).clamp(self.shortest, self.longest);
        pause
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.due
    }

    /// When it is over.
    pub fn due(&self) -> Instant {
        self.due
    }
}

const RUN_PER_REST: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_the_child_keeps_ending() {
        let mut pause = Pause::new(Duration::from_secs(1), Duration::from_secs(5));
        pause.started();
        let pauses: [u64; 5] = std::array::from_fn(|_| pause.ended().as_secs());
        assert_eq!(pauses, [0, 1, 2, 4, 5]);
        assert!(!pause.is_over());
        pause.started -= Duration::from_secs(9);
        assert_eq!(pause.ended().as_secs(), 5, "it had not run for long");
        pause.started -= Duration::from_secs(2);
        assert_eq!(pause.ended(), Duration::ZERO, "it had run for long");
        assert!(pause.is_over());
    }
}
