//! Clients that a server has to wait for: half of them type one byte at a time, half ask a lot and
//! then do not read, until the receive window is shut.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Troupe;
use crate::act::Then;
use crate::seat::Seat;

impl Troupe {
    pub(super) async fn slow(&self, time: Duration, pause: Duration, closed: Duration, flood: u32) {
        let end = Instant::now() + time;
        for seat in &*self.seats {
            if seat.number % 2 == 0 {
                tokio_uring::spawn(type_slowly(Rc::clone(seat), pause, end));
            } else if seat.is_resting() {
                seat.flood(flood, closed);
            }
        }
        tokio::time::sleep_until(end.into()).await;
    }
}

/// DONE and IDLE by turns, until the end.
async fn type_slowly(seat: Rc<Seat>, pause: Duration, end: Instant) {
    seat.type_slowly(Some(pause));
    while Instant::now() < end {
        if seat.is_resting() {
            seat.done(Then::Idle);
        }
        tokio::time::sleep(pause).await;
    }
    seat.type_slowly(None);
}
