//! Everybody at once.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Beat, Troupe, enter};
use crate::act::{Storm, Then};
use crate::seat::Seat;

impl Troupe {
    /// Chooses who storms, and has their mail written where nobody sees it yet.
    pub(super) async fn prepare_storm(&mut self, what: Storm, clients: u32) {
        let wanted = self.floor.share.of(clients, self.floor.plan.clients);
        let resting: Vec<_> = self.regulars().iter().filter(|seat| seat.is_resting()).collect();
        self.chosen = spread(&resting, wanted as usize).cloned().collect();
        let missing = wanted as usize - self.chosen.len();
        self.floor.ledger.borrow_mut().skipped += missing as u64;
        if what == Storm::Mail {
            let first = |seat: &Rc<Seat>| self.floor.mates(seat.number).start;
            let users: BTreeSet<u32> = self.chosen.iter().map(first).collect();
            let letters = users.iter().map(|seat| self.floor.letter(*seat)).collect();
            // Whoever shares a chosen user's mailbox hears of the mail as well.
            let mates = users.iter().flat_map(|seat| self.floor.mates(*seat));
            self.chosen = mates.map(|seat| Rc::clone(&self.seats[seat as usize])).collect();
            let postman = self.postman.as_ref().expect("a plan with mail has a route");
            postman.stage(letters).await;
        }
    }

    /// Lets it loose. Whoever was lost since the choice counts as lost already.
    pub(super) async fn storm(&mut self, what: Storm, then: Then) {
        let ready = std::mem::take(&mut self.chosen);
        let ready = ready.into_iter().filter(|seat| seat.is_resting());
        match what {
            Storm::Done => {
                for (at, seat) in ready.enumerate() {
                    seat.done(then);
                    if at % BREATH == BREATH - 1 {
                        // What has been said goes out while the ring is waited for.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            Storm::Mail => {
                ready.for_each(|seat| seat.expect_mail(then));
                self.postman.as_ref().expect("it has staged the mail").release();
            }
        }
    }

    /// Has newcomers log in meanwhile, if this crew has them.
    pub(super) async fn let_in(&mut self, newcomers: u32) {
        let doors = Arc::new(Semaphore::new(newcomers as usize));
        let mut beat = Beat::new(NEWCOMERS_PER_SEC);
        for seat in self.newcomers.by_ref().take(newcomers as usize) {
            beat.next().await;
            self.floor.expect_newcomer();
            seat.log_in(enter(&doors).await);
        }
    }
}

/// `count` of `all`, evenly spread; all of them when there are not so many.
fn spread<'a, T>(all: &'a [&'a T], count: usize) -> impl Iterator<Item = &'a T> {
    let count = count.min(all.len());
    (0..count).map(move |at| all[at * all.len() / count])
}

/// Clients that speak before answers are heard again: one thread has all of them, and the first
/// answer must not wait until the last has spoken.
const BREATH: usize = 128;
/// Twenty of them take four seconds: a storm of thousands lasts longer.
const NEWCOMERS_PER_SEC: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn a_choice_is_spread_over_everybody() {
        let all: Vec<u32> = (0..10).collect();
        let all: Vec<&u32> = all.iter().collect();
        assert_eq!(spread(&all, 4).collect::<Vec<_>>(), [&0, &2, &5, &7]);
        assert_eq!(spread(&all, 99).count(), 10);
        assert_eq!(spread(&all[..0], 3).count(), 0);
    }
}
