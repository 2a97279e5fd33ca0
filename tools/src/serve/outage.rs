//! The time between an engine's death and its heir's first service, and what is said of it.

use std::time::{Duration, Instant};

use super::charge::End;

/// Of the engine of one number.
#[derive(Debug)]
pub struct Outage {
    number: u32,
    /// When the last one that served has died; none: one serves.
    since: Option<Instant>,
    /// Ends of processes since.
    failures: u32,
    /// True exactly when the next end is wanted.
    is_planned: bool,
}

impl Outage {
    /// None yet.
    pub fn new(number: u32) -> Self {
        Self { number, since: None, failures: 0, is_planned: false }
    }

    /// The next end of a process is wanted: another one follows it.
    pub fn plan(&mut self) {
        self.is_planned = true;
    }

    /// A process has ended; unless that was planned, nobody has told it to. `held`: its clients
    /// live on; `pause`: until the next one is started.
    pub fn begin(&mut self, status: End, held: bool, pause: Duration) {
        let (number, pause) = (self.number, pause.as_secs_f64());
        self.since.get_or_insert_with(Instant::now);
        if std::mem::take(&mut self.is_planned) {
            tracing::info!(
                event = "engine_replaced",
                engine = number,
                "engine {number} is replaced"
            );
            return;
        }
        self.failures += 1;
        let fate = if held { "its clients are held" } else { "its clients are lost" };
        tracing::error!(
            event = "engine_ended",
            engine = number,
            "engine {number} has ended: {status}; {fate}; it is started again in {pause:.1} s"
        );
        if self.failures >= FAILURES_TOLD && held {
            tracing::error!(
                event = "engine_fails",
                engine = number,
                failures = self.failures,
                "engine {number} has ended {} times in a row before it served. Its clients are \
                 held as long as this keeper runs, and nobody serves them. What it has printed \
                 says why; if that is about its memory, a restart of torpor is the only remedy, \
                 and loses them",
                self.failures
            );
        }
    }

    /// An engine serves.
    pub fn end(&mut self) {
        self.failures = 0;
        if let Some(since) = self.since.take() {
            let (number, away_ms) = (self.number, since.elapsed().as_millis());
            tracing::info!(
                event = "engine_serves",
                engine = number,
                away_ms = away_ms as u64,
                "engine {number} serves again after {away_ms} ms"
            );
        }
    }
}

/// Ends in a row that are told as what they are: the next one will end, too.
const FAILURES_TOLD: u32 = 3;
