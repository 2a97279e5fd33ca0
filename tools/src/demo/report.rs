//! What happened in a demo.

use std::fmt::Write as _;

use serde::Serialize;

/// All figures. Times in microseconds, memory of processes in kilobytes of PSS.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub clients: u32,
    /// Hibernations accepted, and clients asleep once all were.
    pub hibernated: u64,
    pub asleep: u64,
    /// Worker processes: the most at once, what these cost, and how many were left when all slept.
    pub workers_most: u64,
    pub awake_kb: u64,
    pub awake_kernel_kb: u64,
    pub workers_left: u64,
    /// What torpor and the kernel have grown by for each sleeper after the first tenth, in bytes,
    /// and what was counted of the kernel.
    pub asleep_user_bytes: u64,
    pub asleep_kernel_bytes: u64,
    pub kernel_source: &'static str,
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
    /// True when everybody slept without a process of their own, who should wake did, and nobody
    /// was lost.
    pub fn is_fine(&self) -> bool {
        let awake = |latency: &Latency| latency.woken == latency.expected;
        self.asleep == u64::from(self.clients)
            && self.workers_left == 0
            && awake(&self.mail)
            && awake(&self.done)
            && self.lost == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, text: String| {
            // A String takes everything.
            let _ = writeln!(out, "{name:<22}{text}");
        };
        line("clients", self.clients.to_string());
        let (most, left) = (self.workers_most, self.workers_left);
        let text = format!("{most} at once before, {left} with all {} asleep", self.asleep);
        line("worker processes", text);
        line("mail to EXISTS", self.mail.text());
        line("DONE to tagged OK", self.done.text());
        line("lost", self.lost.to_string());
        let each = |kb: u64| kb * 1024 / most.max(1);
        let (user, kernel) = (bytes(each(self.awake_kb)), bytes(each(self.awake_kernel_kb)));
        let text = format!("{user} user (PSS), {kernel} kernel (page tables, stack)");
        line("a client awake", text);
        let (user, kernel) = (bytes(self.asleep_user_bytes), bytes(self.asleep_kernel_bytes));
        let source = self.kernel_source;
        line("a client asleep", format!("{user} user (PSS), {kernel} kernel ({source})"));
        out
    }
}

/// Three digits.
fn bytes(count: u64) -> String {
    let float = count as f64;
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", float / 1_024.0),
        _ => format!("{:.2} MiB", float / 1_048_576.0),
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
        assert!(!Report { workers_left: 1, ..fine.clone() }.is_fine());
        assert!(!Report { done: Latency::new(vec![1], 2), ..fine }.is_fine());
    }
}
