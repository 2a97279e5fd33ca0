//! What a client is told to do by the act it plays in.
//!
//! Each order is counted before it returns, wherever the client's task stands by then.

use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Seat;
use crate::act::Then;
use crate::floor::Place;
use crate::ledger::Kind;
use crate::reason::Reason;

impl Seat {
    /// Begins its life.
    pub fn log_in(self: &Rc<Self>, permit: OwnedSemaphorePermit) {
        self.permit.replace(Some(permit));
        self.go(Place::Busy);
        self.ask(Kind::Login);
        tokio_uring::spawn(Rc::clone(self).live());
    }

    /// Says DONE. The client rests.
    pub fn done(self: &Rc<Self>, then: Then) {
        self.go(Place::Busy);
        let bytes = self.end_idle(then);
        let seat = Rc::clone(self);
        tokio_uring::spawn(async move { seat.write(bytes).await });
    }

    /// Says DONE and logs out. The client rests.
    pub fn leave(self: &Rc<Self>, permit: OwnedSemaphorePermit) {
        self.permit.replace(Some(permit));
        self.done(Then::Leave);
    }

    /// Waits for mail that is about to be delivered. The client rests.
    pub fn expect_mail(&self, then: Then) {
        self.then.set(then);
        self.go(Place::Busy);
        self.floor.mailed.take(self.number);
        self.ask(Kind::Mail);
    }

    /// From now on each byte is typed alone, with this pause between two.
    pub fn type_slowly(&self, pause: Option<Duration>) {
        self.typing.set(pause);
    }

    /// Leaves IDLE, then sends commands without reading an answer for so long. The client rests.
    pub fn flood(self: &Rc<Self>, count: u32, closed: Duration) {
        self.done(Then::Stay);
        tokio_uring::spawn(Rc::clone(self).flood_once_awake(count, closed));
    }

    async fn flood_once_awake(self: Rc<Self>, count: u32, closed: Duration) {
        while self.question.get().is_some() {
            tokio::time::sleep(POLL_EVERY).await;
        }
        if self.place.get() != Place::Busy {
            return;
        }
        self.deaf.set(true);
        let bytes = self.talk.borrow_mut().flood(count);
        self.write(bytes).await;
        tokio::time::sleep(closed).await;
        if self.place.get() == Place::Busy {
            self.ask(Kind::Drain);
        }
        self.deaf.set(false);
        self.hears_again.notify_one();
    }

    /// Ends a client whose answer is overdue, and one whose mail was never sent.
    pub fn look_after(&self, undelivered: Option<&str>) {
        let Some((kind, asked)) = self.question.get() else { return };
        if let Some(why) = undelivered.filter(|_| kind == Kind::Mail) {
            self.question.set(None);
            self.floor.lose(kind, &Reason::Undelivered(why.to_owned()));
            self.go(Place::Resting);
            return;
        }
        let plan = &self.floor.plan;
        let (since, limit) = match kind {
            Kind::Login => (Some(asked), plan.login_timeout()),
            // While the postman is on his way, the server owes nothing.
            Kind::Mail => (self.floor.mailed.peek(self.number), plan.answer_timeout()),
            _ => (Some(asked), plan.answer_timeout()),
        };
        if since.is_some_and(|since| since.elapsed() > limit) && self.verdict.borrow().is_none() {
            self.verdict.replace(Some(Reason::Timeout));
            if let Some(stream) = &*self.stream.borrow() {
                // The waiting read returns, and the client's life with it.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

const POLL_EVERY: Duration = Duration::from_millis(5);
