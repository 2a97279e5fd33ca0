//! Single clients, one after the other, at a rate.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Beat, Troupe};
use crate::act::Then;
use crate::seat::Seat;

/// Goes round all clients in large steps, so that neighbours do not follow each other.
struct Turn {
    at: usize,
    step: usize,
}

impl Troupe {
    pub(super) async fn trickle(&self, time: Duration, mails_per_sec: f64, dones_per_sec: f64) {
        let share = |rate: f64| self.floor.share.rate(rate, self.floor.plan.clients);
        let end = Instant::now() + time;
        let beat = |rate: f64| (rate > 0.0).then(|| Beat::new(share(rate)));
        let (mut mails, mut dones) = (beat(mails_per_sec), beat(dones_per_sec));
        let mut turn = Turn::new(self.seats.len());
        loop {
            let due = |beat: &Option<Beat>| beat.as_ref().map_or(end, Beat::due);
            let (mail, done) = (due(&mails), due(&dones));
            if mail.min(done) >= end {
                break;
            }
            let earlier = if mail <= done { &mut mails } else { &mut dones };
            earlier.as_mut().expect("it has a time before the end").next().await;
            match turn.next(&self.seats) {
                Some(seat) if mail <= done => self.mail_to(seat),
                Some(seat) => seat.done(Then::Idle),
                None => self.floor.ledger.borrow_mut().skipped += 1,
            }
        }
        tokio::time::sleep_until(end.into()).await;
    }

    /// Mail for the user of a seat; each of the user's clients that rests waits for it.
    fn mail_to(&self, seat: &Seat) {
        let letter = self.floor.letter(seat.number);
        let mates = letter.seats.clone().map(|mate| &self.seats[mate as usize]);
        mates.filter(|mate| mate.is_resting()).for_each(|mate| mate.expect_mail(Then::Idle));
        self.postman.as_ref().expect("a plan with mail has a route").post(letter);
    }
}

impl Turn {
    fn new(seats: usize) -> Self {
        let coprime = |step: &usize| gcd(*step, seats) == 1;
        // About the golden section; the nearest step that comes by everybody.
        let step = (seats * 618 / 1000..seats).find(coprime).unwrap_or(1);
        Self { at: 0, step }
    }

    /// The next who rests; `None` when nobody does.
    fn next<'a>(&mut self, seats: &'a [Rc<Seat>]) -> Option<&'a Rc<Seat>> {
        for _ in 0..seats.len() {
            let seat = &seats[self.at];
            self.at = (self.at + self.step) % seats.len();
            if seat.is_resting() {
                return Some(seat);
            }
        }
        None
    }
}

fn gcd(left: usize, right: usize) -> usize {
    if right == 0 { left } else { gcd(right, left % right) }
}

#[cfg(test)]
mod tests {
    use super::Turn;

    #[test]
    fn a_turn_comes_by_everybody_before_it_comes_again() {
        for seats in 1..60 {
            let Turn { step, .. } = Turn::new(seats);
            let mut seen = vec![false; seats];
            for round in 0..seats {
                assert!(!std::mem::replace(&mut seen[round * step % seats], true), "{seats}");
            }
        }
    }
}
