//! What happened in a demo.

use std::fmt::Write as _;

use serde::Serialize;

/// All figures. Times in microseconds, memory in kilobytes of PSS.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub clients: u32,
    /// Hibernations accepted, and clients asleep once all were.
    pub hibernated: u64,
    pub asleep: u64,
    /// Memory of the imap processes that were awake at once, and how many they were.
    pub awake_processes: u64,
    pub awake_kb: u64,
    /// Memory of torpor before anybody slept and with all of them asleep.
    pub torpor_empty_kb: u64,
    pub torpor_full_kb: u64,
    /// imap processes left when all were asleep.
    pub imap_processes_left: u64,
    pub mail: Latency,
    pub done: Latency,
    pub lost: u64,
}

/// How long wakes took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Latency {
    pub woken: u32,
    pub expected: u32,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Latency {
    /// Of those that woke; `expected` should have.
    pub fn new(mut micros: Vec<u64>, expected: u32) -> Self {
        micros.sort_unstable();
        let at = |part: f64| {
            let index = (part * micros.len() as f64).ceil() as usize;
            micros.get(index.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { woken: micros.len() as u32, expected, p50_us: at(0.5), p99_us: at(0.99) }
    }

    fn text(&self) -> String {
        let Self { woken, expected, p50_us, p99_us } = self;
        let ms = |us: &u64| *us as f64 / 1000.0;
        format!("{woken} of {expected}, p50 {:.1} ms, p99 {:.1} ms", ms(p50_us), ms(p99_us))
    }
}

impl Report {
    /// True when everybody slept, who should wake did, and nobody was lost.
    pub fn is_fine(&self) -> bool {
        let awake = |latency: &Latency| latency.woken == latency.expected;
        self.asleep == u64::from(self.clients)
            && awake(&self.mail)
            && awake(&self.done)
            && self.lost == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mib = |kb: u64| kb as f64 / 1024.0;
        let each_awake = mib(self.awake_kb) / self.awake_processes.max(1) as f64;
        let mut out = String::new();
        let mut line = |name: &str, text: String| {
            // A String takes everything.
            let _ = writeln!(out, "{name:<22}{text}");
        };
        line("clients", self.clients.to_string());
        line(
            "asleep in torpor",
            format!("{}, {} imap processes left", self.asleep, self.imap_processes_left),
        );
        line("mail to EXISTS", self.mail.text());
        line("DONE to tagged OK", self.done.text());
        line("lost", self.lost.to_string());
        let (awake, count) = (mib(self.awake_kb), self.awake_processes);
        let text = format!("{awake:.1} MiB in {count} imap processes, {each_awake:.2} MiB each");
        line("memory awake", text);
        let (full, empty) = (mib(self.torpor_full_kb), mib(self.torpor_empty_kb));
        let text = format!("{full:.1} MiB in torpor for all {}, {empty:.1} MiB empty", self.asleep);
        line("memory asleep", text);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let latency = Latency::new((1..=100).rev().collect(), 100);
        assert_eq!((latency.p50_us, latency.p99_us), (50, 99));
        let one = Latency::new(vec![7], 2);
        assert_eq!((one.p50_us, one.p99_us, one.woken, one.expected), (7, 7, 1, 2));
        assert_eq!(Latency::new(vec![], 0).p99_us, 0);
    }

    #[test]
    fn a_demo_is_fine_only_when_nobody_is_missing() {
        let woken = || Latency::new(vec![1, 2], 2);
        let fine =
            Report { clients: 4, asleep: 4, mail: woken(), done: woken(), ..Report::default() };
        assert!(fine.is_fine());
        assert!(!Report { lost: 1, ..fine.clone() }.is_fine());
        assert!(!Report { asleep: 3, ..fine.clone() }.is_fine());
        assert!(!Report { done: Latency::new(vec![1], 2), ..fine }.is_fine());
    }
}
