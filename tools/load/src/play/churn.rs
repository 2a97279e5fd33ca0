//! Mail clients that renew their IDLE, as real ones do: every 29 minutes by RFC 2177, others every
//! 15 or 5, all at a time scale; and those that look in for 10 ms and go again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::Troupe;
use crate::act::Then;

impl Troupe {
    pub(super) async fn churn(&self, time: Duration, time_scale: f64, bursts_percent: u32) {
        let began = Instant::now();
        let end = began + time;
        let mut due = BinaryHeap::new();
        for number in 0..self.seats.len() {
            let period = period(number, time_scale, bursts_percent);
            // Everybody begins somewhere in their period.
            let phase = period.mul_f64((number * 619 % 1000) as f64 / 1000.0);
            due.push(Reverse((began + phase, number, period)));
        }
        while let Some(Reverse((at, number, period))) = due.pop().filter(|next| next.0.0 < end) {
            tokio::time::sleep_until(at.into()).await;
            let seat = &self.seats[number];
            if seat.is_resting() {
                seat.done(Then::Idle);
            }
            // From now: who is late does not hurry afterwards.
            due.push(Reverse((Instant::now() + period, number, period)));
        }
        tokio::time::sleep_until(end.into()).await;
    }
}

/// How long a client idles.
fn period(number: usize, time_scale: f64, bursts_percent: u32) -> Duration {
    // 37 and 100 have no common factor: each hundred of clients has its exact share.
    if number * 37 % 100 < bursts_percent as usize {
        return BURST;
    }
    let minutes = [29, 15, 5][number % 3];
    Duration::from_secs(minutes * 60).div_f64(time_scale)
}

const BURST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_clients_have_their_shares() {
        let periods: Vec<_> = (0..300).map(|number| period(number, 60.0, 10)).collect();
        let count = |secs: f64| {
            let period = Duration::from_secs_f64(secs);
            periods.iter().filter(|each| **each == period).count()
        };
        assert_eq!((count(0.01), count(29.0), count(15.0), count(5.0)), (30, 90, 90, 90));
    }
}
