//! One client on its connection: a read that always waits, and the answer to what it brings.
//!
//! A client has at most one question open. Whatever ends it, answer, refusal, timeout or the end of
//! the connection, is counted exactly once, here.

mod dial;
mod orders;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_uring::net::TcpStream;

use crate::act::Then;
use crate::floor::{Floor, Place};
use crate::ledger::Kind;
use crate::reason::Reason;
use crate::talk::{Event, Talk};

/// A client.
pub struct Seat {
    pub number: u32,
    floor: Rc<Floor>,
    talk: RefCell<Talk>,
    stream: RefCell<Option<Rc<TcpStream>>>,
    place: Cell<Place>,
    /// What it waits for, and since when.
    question: Cell<Option<(Kind, Instant)>>,
    then: Cell<Then>,
    /// Why we end its connection, if we do.
    verdict: RefCell<Option<Reason>>,
    /// Pause after each byte that it types.
    typing: Cell<Option<Duration>>,
    /// Set exactly while it does not read.
    deaf: Cell<bool>,
    hears_again: Notify,
    /// Its place among those who log in or leave; given back at its first rest, and at its end.
    permit: RefCell<Option<OwnedSemaphorePermit>>,
}

/// How a connection ends well.
struct Farewell;

impl Seat {
    pub fn new(number: u32, floor: Rc<Floor>) -> Rc<Self> {
        Rc::new(Self {
            number,
            floor,
            talk: RefCell::default(),
            stream: RefCell::default(),
            place: Cell::new(Place::Absent),
            question: Cell::new(None),
            then: Cell::new(Then::Idle),
            verdict: RefCell::default(),
            typing: Cell::new(None),
            deaf: Cell::new(false),
            hears_again: Notify::new(),
            permit: RefCell::default(),
        })
    }

    pub fn is_resting(&self) -> bool {
        self.place.get() == Place::Resting
    }

    async fn live(self: Rc<Self>) {
        match self.converse().await {
            Ok(Farewell) => {
                self.go(Place::Left);
                self.floor.ledger.borrow_mut().left += 1;
            }
            Err(reason) => self.die(self.verdict.take().unwrap_or(reason)),
        }
        // The connection closes with the last of its references.
        self.stream.replace(None);
        self.permit.replace(None);
    }

    async fn converse(self: &Rc<Self>) -> Result<Farewell, Reason> {
        let stream = Rc::new(self.connect().await?);
        self.stream.replace(Some(Rc::clone(&stream)));
        loop {
            let (count, bytes) = stream.read(Vec::with_capacity(READ_BYTES)).await;
            if count.map_err(|error| Reason::of(&error))? == 0 {
                return Err(Reason::Closed);
            }
            self.talk.borrow_mut().hear(&bytes);
            drop(bytes);
            loop {
                let event = self.talk.borrow_mut().next();
                let Some(event) = event else { break };
                if let Some(farewell) = self.on(event).await? {
                    return Ok(farewell);
                }
            }
            while self.deaf.get() {
                self.hears_again.notified().await;
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Reason> {
        let Floor { plan, share, .. } = &*self.floor;
        let source = share.source(plan.server);
        let dialled = dial::dial(plan.server, source, plan.receive_buffer_bytes);
        match tokio::time::timeout(plan.login_timeout(), dialled).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Reason::Unconnected(error.kind().to_string())),
            Err(_) => Err(Reason::Timeout),
        }
    }

    /// Answers an event.
    async fn on(self: &Rc<Self>, event: Event) -> Result<Option<Farewell>, Reason> {
        match event {
            Event::Greeted => {
                let user = self.floor.user(self.number);
                let bytes = self.talk.borrow_mut().login(&user);
                self.write(bytes).await;
            }
            Event::LoggedIn => {
                self.answered(Kind::Login);
                self.ask(Kind::Select);
                let bytes = self.talk.borrow_mut().select(&self.floor.plan.mailbox);
                self.write(bytes).await;
            }
            Event::Selected => {
                self.answered(Kind::Select);
                self.idle().await;
            }
            Event::Idling => {
                self.answered(Kind::Idle);
                self.permit.replace(None);
                self.go(Place::Resting);
            }
            Event::Awake => {
                self.answered(Kind::Done);
                return self.after_done().await;
            }
            Event::Drained => {
                self.answered(Kind::Drain);
                self.idle().await;
            }
            Event::Exists(_) => self.told_of_mail().await,
            Event::Bye(text) => return Err(Reason::Bye(text)),
            Event::Refused(text) => return Err(Reason::Refused(text)),
            Event::Wrong(text) => return Err(Reason::Wrong(text)),
        }
        Ok(None)
    }

    async fn after_done(self: &Rc<Self>) -> Result<Option<Farewell>, Reason> {
        match self.then.get() {
            Then::Idle => self.idle().await,
            Then::Stay => {}
            Then::Awake { secs } => {
                let later = Rc::clone(self);
                tokio_uring::spawn(async move {
                    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
                    if later.place.get() == Place::Busy {
                        later.idle().await;
                    }
                });
            }
            Then::Leave => {
                let bytes = self.talk.borrow_mut().logout();
                self.write(bytes).await;
                return Ok(Some(Farewell));
            }
        }
        Ok(None)
    }

    async fn told_of_mail(self: &Rc<Self>) {
        let expected = self.question.get().is_some_and(|(kind, _)| kind == Kind::Mail);
        let Some(at) = expected.then(|| self.floor.mailed.take(self.number)).flatten() else {
            self.floor.ledger.borrow_mut().unasked += 1;
            return;
        };
        self.question.set(None);
        self.floor.answer(Kind::Mail, at.elapsed());
        match self.then.get() {
            Then::Idle => self.go(Place::Resting),
            then => {
                let bytes = self.end_idle(then);
                self.write(bytes).await;
            }
        }
    }

    async fn idle(&self) {
        self.ask(Kind::Idle);
        let bytes = self.talk.borrow_mut().idle();
        self.write(bytes).await;
    }

    fn end_idle(&self, then: Then) -> Vec<u8> {
        self.then.set(then);
        self.ask(Kind::Done);
        self.talk.borrow_mut().done()
    }

    /// Sends bytes. A connection that does not take them has an end that the read sees as well,
    /// and there it is counted.
    async fn write(&self, mut bytes: Vec<u8>) {
        let Some(stream) = self.stream.borrow().clone() else { return };
        if let Some(pause) = self.typing.get() {
            let last = bytes.split_off(bytes.len() - 1);
            for byte in bytes {
                if stream.write_all(vec![byte]).await.0.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
            // The server cannot answer before it has the last byte.
            self.question.set(self.question.get().map(|(kind, _)| (kind, Instant::now())));
            bytes = last;
        }
        let _ = stream.write_all(bytes).await;
    }

    fn ask(&self, kind: Kind) {
        assert!(self.question.get().is_none(), "one question at a time");
        self.question.set(Some((kind, Instant::now())));
        self.floor.ledger.borrow_mut().ask(kind);
    }

    fn answered(&self, kind: Kind) {
        let (asked, since) = self.question.take().expect("the conversation answers questions");
        assert_eq!(asked, kind, "the conversation answers what was asked");
        self.floor.answer(kind, since.elapsed());
    }

    fn die(&self, reason: Reason) {
        if let Some((kind, _)) = self.question.take() {
            self.floor.lose(kind, &reason);
        }
        self.floor.ledger.borrow_mut().died.add(&reason, 1);
        self.go(Place::Dead);
    }

    fn go(&self, to: Place) {
        self.floor.moves(self.place.replace(to), to);
    }
}

/// A reply to LOGIN or SELECT in one or two pieces; 15,000 waiting reads cost 7.5 MB.
const READ_BYTES: usize = 512;
