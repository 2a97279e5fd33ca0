//! How many handoffs may be in flight: as many as the workers sustain.
//!
//! ```text
//!           taken: + 1 each below the threshold, then + 1 per window
//!         ┌───────┐
//!         ▼       │     refused: half
//!       open ─────┴──────────────────► open
//!         │ absent: 1, threshold half
//!         ▼
//!       away ── pause over ──► one probe ──┬─ taken ──► open
//!         ▲                                │
//!         └───── absent: pause doubles ────┘
//! ```
//! The window counts what is in flight itself: each `sent` is followed by exactly one of `taken`,
//! `refused`, `absent` and `withdrawn`. Time is passed in, jitter comes from a seeded generator:
//! the same calls give the same answers.

/// The admission window of one engine.
#[derive(Debug)]
pub struct Window {
    size: u32,
    size_max: u32,
    /// Below it the window doubles with each round; above it, it grows by one.
    threshold: u32,
    /// Taken since the window last grew by one.
    credit: u32,
    in_flight: u32,
    /// True exactly when the window was used in full and has not been half empty since.
    is_limiting: bool,
    sent_ms: u64,
    /// End of the round in which the window shrank: until then come back those who went out before.
    settled_ms: u64,
    /// Some exactly while `imap-master` is away.
    away: Option<Away>,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    pause_ms: u64,
    until_ms: u64,
    /// True exactly when a handoff went out since the pause ended, and none has come back.
    probing: bool,
}

impl Window {
    /// A window that starts small and grows to `size_max`.
    pub fn new(size_max: u32, seed: u64) -> Self {
        assert!(size_max > 0, "handoffs_in_flight_max is at least 1");
        Self {
            size: SIZE_START.min(size_max),
            size_max,
            threshold: size_max,
            credit: 0,
            in_flight: 0,
            is_limiting: false,
            sent_ms: 0,
            settled_ms: 0,
            away: None,
            jitter: Jitter::new(seed),
        }
    }

    /// How many may be in flight now: go on while fewer are.
    ///
    /// A handoff that hangs does not hold up the others: one more is let through for each second
    /// in which nothing went out, whatever the window's size.
    pub fn open(&self, now_ms: u64) -> u32 {
        let one_more = (self.in_flight + 1).min(self.size_max);
        match self.away {
            Some(away) if now_ms < away.until_ms => 0,
            Some(_) => one_more,
            None if now_ms >= self.sent_ms + STALL_MS => self.size.max(one_more),
            None => self.size,
        }
    }

    /// A handoff went out.
    pub fn sent(&mut self, now_ms: u64) {
        assert!(self.in_flight < self.size_max, "{} are in flight", self.in_flight);
        self.in_flight += 1;
        self.sent_ms = now_ms;
        self.is_limiting |= self.in_flight >= self.size;
        if let Some(away) = &mut self.away {
            // One probe at a time. Should it hang, the next may follow after the longest pause.
            away.probing = true;
            away.until_ms = now_ms + PAUSE_MS_MAX;
        }
    }

    /// A worker took a client. Not asked for, not proven: only a window that is used in full
    /// grows, and only by those who went out since it last shrank.
    pub fn taken(&mut self, now_ms: u64) {
        self.came_back();
        self.away = None;
        if self.is_limiting && now_ms >= self.settled_ms && self.size < self.size_max {
            self.credit += 1;
            if self.size < self.threshold || self.credit >= self.size {
                self.size += 1;
                self.credit = 0;
            }
        }
        self.is_limiting &= 2 * self.in_flight >= self.size;
        assert!(self.size <= self.size_max);
    }

    /// A worker refused, hung up or was silent: half as many. Those who went out together are
    /// refused together, so they count once.
    pub fn refused(&mut self, now_ms: u64) {
        self.came_back();
        self.end_probe();
        self.halve(now_ms);
    }

    /// Nobody there, or no room in the backlog: everybody pauses.
    pub fn absent(&mut self, now_ms: u64) {
        self.came_back();
        let pause_ms = match self.away {
            // One more of those who went out before the pause.
            Some(away) if !away.probing => return,
            Some(away) => (2 * away.pause_ms).min(PAUSE_MS_MAX),
            None => PAUSE_MS_MIN,
        };
        if self.away.is_none() {
            // The threshold remembers half of what went well before.
            self.halve(now_ms);
            self.size = 1;
        }
        let until_ms = now_ms + self.jitter.spread(pause_ms);
        self.away = Some(Away { pause_ms, until_ms, probing: false });
        assert!(until_ms <= now_ms + PAUSE_MS_MAX);
    }

    /// The client left after `sent`, before the handoff thread had it: nothing was learnt.
    pub fn withdrawn(&mut self) {
        self.came_back();
        self.end_probe();
    }

    /// When the window opens again by itself, while it is shut.
    pub fn resumes_ms(&self) -> Option<u64> {
        match self.away {
            Some(away) => Some(away.until_ms),
            None if self.in_flight >= self.size && self.in_flight < self.size_max => {
                Some(self.sent_ms + STALL_MS)
            }
            None => None,
        }
    }

    /// True exactly while `imap-master` is away.
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// What the workers are believed to sustain at once.
    pub fn size(&self) -> u32 {
        self.size
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn came_back(&mut self) {
        assert!(self.in_flight > 0, "a handoff came back that never went out");
        self.in_flight -= 1;
    }

    /// Somebody is there again, if only to refuse: the next probe may follow after a pause.
    fn end_probe(&mut self) {
        if let Some(away) = &mut self.away
            && away.probing
        {
            away.probing = false;
            away.until_ms = away.until_ms.min(self.sent_ms + PAUSE_MS_MIN);
        }
    }

    fn halve(&mut self, now_ms: u64) {
        if now_ms < self.settled_ms {
            return;
        }
        self.settled_ms = now_ms + ROUND_MS;
        self.size = (self.size / 2).max(1);
        self.threshold = self.size.max(2).min(self.size_max);
        self.credit = 0;
        assert!(self.size >= 1);
    }
}

/// A small generator (xorshift64*) for spreading retries; not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    /// From half of `span_ms` to `span_ms`, evenly.
    pub fn spread(&mut self, span_ms: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        let spread_ms = span_ms - number % (span_ms / 2 + 1);
        assert!(spread_ms <= span_ms && spread_ms >= span_ms / 2);
        spread_ms
    }
}

/// In flight at the start: enough for a quiet server, few for one that has just come up.
const SIZE_START: u32 = 4;
/// A fork of a worker takes about 4 ms, so those who went out together are back by then.
const ROUND_MS: u64 = 20;
const STALL_MS: u64 = 1000;
const PAUSE_MS_MIN: u64 = 50;
/// A worker's return is noticed within a second; half of what the promise allows.
const PAUSE_MS_MAX: u64 = 1000;

#[cfg(test)]
mod tests;
