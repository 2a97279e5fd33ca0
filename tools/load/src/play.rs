//! The acts, as one crew plays them.

mod churn;
mod slow;
mod storm;
mod trickle;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::act::Act;
use crate::floor::{Floor, Place};
use crate::plan::Pace;
use crate::post::Postman;
use crate::seat::Seat;

/// The clients of a crew, and who brings them mail.
pub struct Troupe {
    floor: Rc<Floor>,
    seats: Rc<[Rc<Seat>]>,
    postman: Option<Postman>,
    act: Option<Act>,
    /// Those who have not come yet: each storm brings some.
    newcomers: IntoIter<Rc<Seat>>,
    /// Who is chosen for the storm that has been prepared.
    chosen: Vec<Rc<Seat>>,
}

impl Troupe {
    pub fn new(floor: Rc<Floor>, seats: Rc<[Rc<Seat>]>, postman: Option<Postman>) -> Self {
        let newcomers = seats.iter().skip(floor.share.count as usize).cloned();
        let newcomers = newcomers.collect::<Vec<_>>().into_iter();
        Self { floor, seats, postman, act: None, newcomers, chosen: Vec::new() }
    }

    /// Does whatever can be done before the act begins.
    pub async fn prepare(&mut self, act: usize) {
        let act = self.floor.plan.acts[act].clone();
        if let Act::Storm { what, clients, .. } = act {
            self.prepare_storm(what, clients).await;
        }
        self.act = Some(act);
    }

    /// Plays what was prepared, until every question has its end.
    pub async fn play(&mut self) {
        match self.act.take().expect("an act is prepared before it is played") {
            Act::LogIn => self.log_in(self.floor.plan.pace).await,
            Act::Hold { secs } => tokio::time::sleep(Duration::from_secs_f64(secs)).await,
            Act::Trickle { secs, mails_per_sec, dones_per_sec } => {
                self.trickle(Duration::from_secs_f64(secs), mails_per_sec, dones_per_sec).await;
            }
            Act::Storm { what, then, newcomers, .. } => {
                self.storm(what, then).await;
                self.let_in(newcomers).await;
            }
            Act::Churn { secs, time_scale, bursts_percent } => {
                self.churn(Duration::from_secs_f64(secs), time_scale, bursts_percent).await;
            }
            Act::Slow { secs, byte_ms, closed_window_secs, flood } => {
                let closed = Duration::from_secs_f64(closed_window_secs);
                let (secs, pause) = (Duration::from_secs_f64(secs), Duration::from_millis(byte_ms));
                self.slow(secs, pause, closed, flood).await;
            }
            Act::Check { per_sec } => self.check(per_sec).await,
        }
        while self.floor.count(Place::Busy) > 0 {
            tokio::time::sleep(QUIET_EVERY).await;
        }
    }

    async fn log_in(&self, pace: Pace) {
        let doors = self.doors();
        let mut beat = self.beat(pace.logins_per_sec);
        for seat in self.regulars() {
            beat.next().await;
            seat.log_in(enter(&doors).await);
        }
    }

    /// Those who died or left have had their end already; everybody else gets one here. A check is
    /// no storm: only so many are asked at once.
    async fn check(&self, per_sec: f64) {
        let doors = self.doors();
        let mut beat = self.beat(per_sec);
        for seat in self.seats.iter().filter(|seat| seat.is_resting()) {
            beat.next().await;
            let permit = enter(&doors).await;
            // It may have been lost while the others were asked.
            if seat.is_resting() {
                seat.leave(permit);
            }
        }
    }

    /// Those who are there from the beginning.
    fn regulars(&self) -> &[Rc<Seat>] {
        &self.seats[..self.floor.share.count as usize]
    }

    /// As many of this crew's clients as may be on their way at once.
    fn doors(&self) -> Arc<Semaphore> {
        let Floor { share, plan, .. } = &*self.floor;
        let at_once = plan.pace.logins_at_once.min(plan.clients);
        Arc::new(Semaphore::new(share.of(at_once, plan.clients).max(1) as usize))
    }

    /// This crew's part of a rate.
    fn beat(&self, per_sec: f64) -> Beat {
        Beat::new(self.floor.share.rate(per_sec, self.floor.plan.clients))
    }
}

async fn enter(doors: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(doors).acquire_owned().await.expect("nobody closes the doors")
}

/// A steady rate: beats that were late are made up for.
pub struct Beat {
    began: Instant,
    per_sec: f64,
    count: u64,
}

impl Beat {
    pub fn new(per_sec: f64) -> Self {
        assert!(per_sec > 0.0, "a rate of nothing never comes to its first beat");
        Self { began: Instant::now(), per_sec, count: 0 }
    }

    /// When the next beat is.
    pub fn due(&self) -> Instant {
        self.began + Duration::from_secs_f64(self.count as f64 / self.per_sec)
    }

    /// Waits for the next beat; the first is at once.
    pub async fn next(&mut self) {
        tokio::time::sleep_until(self.due().into()).await;
        self.count += 1;
    }
}

const QUIET_EVERY: Duration = Duration::from_millis(10);
