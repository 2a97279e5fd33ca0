//! Orders for the engine and the answers to them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use torpor_engine::command::{Answer, Command};
use torpor_engine::limits::Knobs;

use super::note::Note;
use crate::card::Sleeper;

/// Wakes the engine thread.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    pub fn new(doorbell: OwnedFd) -> Self {
        Self(Arc::new(doorbell))
    }

    pub fn ring(&self) {
        // Only a full counter can fail, and a bell that rings already need not be rung.
        let _ = nix::unistd::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// What one order brought: the engine's answer and a copy of its text.
#[derive(Debug)]
pub struct Page {
    pub answer: Answer,
    pub text: Vec<u8>,
}

impl Page {
    /// The cards of an answer to [`Command::Who`].
    pub fn sleepers(&self) -> impl Iterator<Item = Sleeper> {
        self.text.split(|byte| *byte == b'\n').filter_map(Sleeper::parse)
    }
}

/// What the anvil thread reads: events and pages in the order in which the engine made them.
#[derive(Debug)]
pub enum Paper {
    Note(Note),
    /// A page, and the number under which it was asked for.
    Page(u64, Page),
}

/// Where an answer goes.
#[derive(Clone, Debug)]
pub(super) enum Desktop {
    /// To the one who asked.
    Asker(Sender<Page>),
    /// Into the stream of the anvil thread's papers, under this number.
    Papers(u64),
}

/// An order on its way to the engine.
#[derive(Debug)]
pub(super) struct Order {
    pub command: Command,
    pub desktop: Desktop,
}

/// The sending side of the desk, for any number of threads.
#[derive(Clone, Debug)]
pub struct Orders {
    orders: Sender<Order>,
    bell: Bell,
}

/// Why an order has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("the engine has ended")]
    Ended,
    #[error("the engine did not answer within {ANSWER_TIMEOUT_SECS} s")]
    Silent,
}

impl Orders {
    pub(super) fn new(bell: Bell) -> (Self, Receiver<Order>) {
        let (orders, taken) = bounded(ORDERS_MAX);
        (Self { orders, bell }, taken)
    }

    /// One page of sleepers from slot `cursor` on; `user` in its escaped form.
    pub fn who(&self, cursor: u32, user: Option<Box<[u8]>>) -> Result<Page, OrderError> {
        self.ask(Command::Who { ticket: 0, cursor, user })
    }

    /// The same for everybody, answered into the anvil thread's papers under a number.
    pub fn who_on_paper(&self, number: u64, cursor: u32) -> Result<(), OrderError> {
        self.send(Command::Who { ticket: 0, cursor, user: None }, Desktop::Papers(number))
    }

    /// BYE to all sleepers of a user, or to those of one session; names escaped. Says how many.
    pub fn kick(&self, user: &[u8], session: Option<&[u8]>) -> Result<u64, OrderError> {
        let (mut kicked, mut cursor) = (0, Some(0));
        while let Some(at) = cursor {
            let (user, session) = (user.into(), session.map(Into::into));
            let page = self.ask(Command::Kick { ticket: 0, cursor: at, user, session })?;
            kicked += u64::from(page.answer.count);
            cursor = page.answer.cursor;
        }
        Ok(kicked)
    }

    /// New values for what may change.
    pub fn reload(&self, knobs: Knobs) -> Result<(), OrderError> {
        self.ask(Command::Reload { ticket: 0, knobs }).map(drop)
    }

    /// Whether the engine thread answers: a page behind the last slot, which costs it nothing.
    pub fn ping(&self) -> Result<(), OrderError> {
        self.who(u32::MAX, None).map(drop)
    }

    /// BYE to everybody; the engine then ends by itself.
    pub fn stop(&self) -> Result<(), OrderError> {
        let (asker, _) = bounded(1);
        self.send(Command::Stop { ticket: 0 }, Desktop::Asker(asker))
    }

    /// Wakes the engine thread, for what does not come through here.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    fn ask(&self, command: Command) -> Result<Page, OrderError> {
        let (asker, answer) = bounded(1);
        self.send(command, Desktop::Asker(asker))?;
        let timeout = Duration::from_secs(ANSWER_TIMEOUT_SECS);
        answer.recv_timeout(timeout).map_err(|error| match error {
            crossbeam_channel::RecvTimeoutError::Timeout => OrderError::Silent,
            crossbeam_channel::RecvTimeoutError::Disconnected => OrderError::Ended,
        })
    }

    fn send(&self, command: Command, desktop: Desktop) -> Result<(), OrderError> {
        let timeout = Duration::from_secs(ANSWER_TIMEOUT_SECS);
        let sent = self.orders.send_timeout(Order { command, desktop }, timeout);
        sent.map_err(
            |error| if error.is_timeout() { OrderError::Silent } else { OrderError::Ended },
        )?;
        self.bell.ring();
        Ok(())
    }
}

/// Orders that wait for the engine.
const ORDERS_MAX: usize = 64;
const ANSWER_TIMEOUT_SECS: u64 = 10;
