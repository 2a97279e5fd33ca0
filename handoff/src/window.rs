//! How many handoffs may be in flight: as many as the workers sustain.
//!
//! Like a TCP window: each `+` lets it grow (by one until it has once been cut, then by one a
//! window), a refusal halves it. When imap-master is away, one probe at a time goes out, after a
//! pause that doubles from [`PAUSE_MS_MIN`] to [`PAUSE_MS_MAX`] and is jittered, so that its
//! return is noticed within a second or so and nobody storms it.

/// The window. Pure: time comes in, jitter comes from the seed.
pub struct Window {
    max: u32,
    size: u32,
    /// Above it growth is slow.
    threshold: u32,
    /// `+` since the last slow growth.
    credit: u32,
    /// Nothing goes out before, milliseconds.
    resumes_ms: u64,
    pause_ms: u64,
    random: u64,
}

impl Window {
    /// At most `max` in flight; `seed` is not 0.
    pub fn new(max: u32, seed: u64) -> Self {
        assert!(max > 0 && seed != 0);
        let size = SIZE_AT_START.min(max);
        Self { max, size, threshold: max, credit: 0, resumes_ms: 0, pause_ms: 0, random: seed }
    }

    /// Handoffs that may be in flight now.
    pub fn open(&self, now_ms: u64) -> u32 {
        if now_ms < self.resumes_ms { 0 } else { self.size }
    }

    /// When a pause ends, milliseconds; `None` when none was ever needed or it is long over.
    pub fn resumes_ms(&self) -> Option<u64> {
        (self.pause_ms > 0).then_some(self.resumes_ms)
    }

    /// The size, a pause aside.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// A worker has taken a client.
    pub fn taken(&mut self) {
        (self.pause_ms, self.resumes_ms) = (0, 0);
        if self.size < self.threshold {
            self.size += 1;
        } else {
            self.credit += 1;
            if self.credit >= self.size {
                (self.credit, self.size) = (0, self.size + 1);
            }
        }
        self.size = self.size.min(self.max);
    }

    /// A worker, or the master for want of one, has not: fewer at once.
    pub fn refused(&mut self) {
        self.size = (self.size / 2).max(1);
        (self.threshold, self.credit) = (self.size, 0);
    }

    /// Nobody listens, or the listen queue is full: one probe, after a pause. Failures of those
    /// sent before the pause began do not lengthen it.
    pub fn absent(&mut self, now_ms: u64) {
        if now_ms < self.resumes_ms {
            return;
        }
        (self.size, self.credit) = (1, 0);
        self.threshold = self.max;
        self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.resumes_ms = now_ms + self.pause_ms - self.random % (self.pause_ms / 4);
        assert!(self.resumes_ms > now_ms);
    }
}

/// First pause, milliseconds.
pub const PAUSE_MS_MIN: u64 = 50;
/// Longest pause, milliseconds: a returned worker is noticed within this time.
pub const PAUSE_MS_MAX: u64 = 1000;

/// More than one, so that a single wake never waits for another; few enough for any machine.
const SIZE_AT_START: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_fast_until_cut_and_slowly_after() {
        let mut window = Window::new(64, 1);
        for _ in 0..100 {
            window.taken();
        }
        assert_eq!(window.open(0), 64);
        window.refused();
        assert_eq!(window.open(0), 32);
        for _ in 0..32 {
            window.taken();
        }
        assert_eq!(window.open(0), 33);
        for _ in 0..20 {
            window.refused();
        }
        assert_eq!(window.open(0), 1, "one always goes");
    }

    #[test]
    fn away_means_one_probe_at_a_time_with_growing_pauses() {
        let mut window = Window::new(64, 1);
        let (mut now, mut pauses) = (1000, Vec::new());
        for _ in 0..8 {
            window.absent(now);
            assert_eq!(window.open(now), 0);
            window.absent(now);
            let resumes = window.resumes_ms().expect("a pause");
            pauses.push(resumes - now);
            now = resumes;
            assert_eq!(window.open(now), 1);
        }
        assert!(pauses[0] <= 50 && pauses[7] > 700 && pauses[7] <= 1000, "{pauses:?}");
        window.taken();
        assert_eq!((window.open(now), window.resumes_ms()), (2, None));
    }
}
