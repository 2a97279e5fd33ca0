//! What all clients of a crew share: the plan, the ledger of the running act, and who is where.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ledger::{Kind, Ledger};
use crate::plan::Plan;
use crate::post::{Letter, Mailed};
use crate::reason::Reason;
use crate::share::Share;
use crate::users::User;
use crate::wire::Counts;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has not begun.
    Absent,
    /// It logs in, waits for an answer, or stays out of IDLE.
    Busy,
    /// It idles and waits for nothing.
    Resting,
    /// It has logged out.
    Left,
    /// The server lost it.
    Dead,
}

/// The floor that a crew plays on.
pub struct Floor {
    pub plan: Plan,
    pub share: Share,
    pub mailed: Arc<Mailed>,
    pub ledger: RefCell<Ledger>,
    began: Instant,
    /// Clients by place, in the order of [`Place`].
    places: Cell<[u64; 5]>,
}

impl Floor {
    /// `age`: of the run.
    pub fn new(plan: Plan, share: Share, age: Duration) -> Self {
        let now = Instant::now();
        let ledger = Ledger { begun: share.count.into(), ..Ledger::default() };
        Self {
            plan,
            share,
            mailed: Arc::new(Mailed::new(share.count)),
            ledger: RefCell::new(ledger),
            began: now.checked_sub(age).unwrap_or(now),
            places: Cell::new([(share.count + share.newcomers).into(), 0, 0, 0, 0]),
        }
    }

    /// Since the run began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn moves(&self, from: Place, to: Place) {
        let mut places = self.places.get();
        let count = &mut places[from as usize];
        *count = count.checked_sub(1).expect("nobody leaves a place without having been there");
        places[to as usize] += 1;
        self.places.set(places);
    }

    pub fn count(&self, place: Place) -> u64 {
        self.places.get()[place as usize]
    }

    pub fn answer(&self, kind: Kind, time: Duration) {
        self.ledger.borrow_mut().answer(kind, time, self.age());
    }

    /// One more client than there were when the act began.
    pub fn expect_newcomer(&self) {
        self.ledger.borrow_mut().begun += 1;
    }

    pub fn lose(&self, kind: Kind, reason: &Reason) {
        self.ledger.borrow_mut().lose(kind, reason, self.age());
    }

    /// Closes the ledger of an act and opens the next.
    pub fn turn_page(&self) -> Ledger {
        let alive = self.count(Place::Resting) + self.count(Place::Busy);
        let next = Ledger { begun: alive, ..Ledger::default() };
        let mut ledger = self.ledger.replace(next);
        ledger.alive = alive;
        ledger
    }

    pub fn counts(&self) -> Counts {
        let ledger = self.ledger.borrow();
        let tallies = || ledger.tallies.values();
        let answers = |kind| ledger.tallies.get(&kind).map_or(0, |tally| tally.times.count());
        let resting = self.count(Place::Resting);
        Counts {
            alive: resting + self.count(Place::Busy),
            resting,
            died: self.count(Place::Dead),
            answered: tallies().map(|tally| tally.times.count()).sum(),
            lost: tallies().map(|tally| tally.lost.total()).sum(),
            done: answers(Kind::Done),
            mail: answers(Kind::Mail),
        }
    }

    /// The user of one of this crew's seats.
    pub fn user(&self, seat: u32) -> User {
        match seat.checked_sub(self.share.count) {
            Some(newcomer) => self.plan.newcomer(newcomer),
            None => self.plan.user(self.share.first + seat),
        }
    }

    /// A letter to the user of a seat, and with it to all seats of that user.
    pub fn letter(&self, seat: u32) -> Letter {
        Letter { user: self.user(seat), seats: self.mates(seat) }
    }

    /// The seats that have the same user; a crew has all of them.
    pub fn mates(&self, seat: u32) -> Range<u32> {
        let size = self.plan.clients_per_user;
        let first = seat / size * size;
        first..(first + size).min(self.share.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    fn floor() -> Floor {
        let plan = plan(10, 4);
        let share = Share::cut(&plan, 2)[1];
        Floor::new(plan, share, Duration::ZERO)
    }

    #[test]
    fn mail_goes_to_all_clients_of_a_user() {
        let floor = floor();
        assert_eq!((floor.share.first, floor.share.count), (4, 6));
        let letter = floor.letter(5);
        assert_eq!((letter.user.name.as_str(), letter.seats), ("u3", 4..6));
        assert_eq!(floor.mates(1), 0..4);
    }

    #[test]
    fn a_page_begins_with_those_who_are_left() {
        let floor = floor();
        for _ in 0..6 {
            floor.moves(Place::Absent, Place::Busy);
        }
        floor.moves(Place::Busy, Place::Dead);
        floor.ledger.borrow_mut().died.add(&Reason::Closed, 1);
        floor.moves(Place::Busy, Place::Resting);
        assert_eq!(floor.turn_page().balance(), Ok(()));
        assert_eq!(floor.turn_page().begun, 5);
    }
}
