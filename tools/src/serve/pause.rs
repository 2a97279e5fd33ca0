//! When a child process may be started again.

use std::time::{Duration, Instant};

/// At once after its first end, then after 1, 2, 4 ... seconds; one that has run for as long as
/// the longest pause begins anew.
#[derive(Debug)]
pub struct Pause {
    longest: Duration,
    started: Instant,
    due: Instant,
    next: Duration,
}

impl Pause {
    pub fn new(longest: Duration) -> Self {
        let now = Instant::now();
        Self { longest, started: now, due: now, next: Duration::ZERO }
    }

    /// The child runs.
    pub fn started(&mut self) {
        self.started = Instant::now();
    }

    /// The child has ended; says how long it rests.
    pub fn ended(&mut self) -> Duration {
        if self.started.elapsed() > self.longest {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.due = Instant::now() + pause;
        self.next = (pause * 2).clamp(SECOND, self.longest);
        pause
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.due
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_the_child_keeps_ending() {
        let mut pause = Pause::new(Duration::from_secs(5));
        pause.started();
        let pauses: [u64; 5] = std::array::from_fn(|_| pause.ended().as_secs());
        assert_eq!(pauses, [0, 1, 2, 4, 5]);
        assert!(!pause.is_over());
        pause.started -= Duration::from_secs(6);
        assert_eq!(pause.ended(), Duration::ZERO, "it had run for long");
        assert!(pause.is_over());
    }
}
