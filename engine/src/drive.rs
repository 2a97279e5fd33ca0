//! The loop that joins the core with its ring, handoff thread, watcher and desk.
//!
//! One turn: wait, reap, hear the other threads, step, act. No policy lives here: what is done is
//! what the core said, in the order in which it said it.

use std::io;

use torpor_handoff::message::{Exited, Returned, Wake};

use crate::action::{Action, Actions};
use crate::command::{Answer, Command};
use crate::core::{Core, Now};
use crate::report::{Counters, Report};
use crate::ring::{COMMANDS_MAX, Completion, EXITED_MAX, Inbox, Op, Ring};
use crate::watch::{Adopted, Adoption, WatchEvent, WatchOrder};

/// The handoff thread, or the simulated one.
pub trait Handoff {
    type Descriptor;
    /// Takes a client. Never refuses: the core keeps within `handoffs_in_flight_max`.
    fn send(&mut self, wake: Wake<Self::Descriptor>);
    /// All clients of this step were sent.
    fn flush(&mut self) {}
    /// The next handoff that has ended.
    fn returned(&mut self) -> Option<Returned<Self::Descriptor>>;
    /// The next worker that has ended after it took a client. One that is told has had its reply
    /// put out before.
    fn exited(&mut self) -> Option<Exited>;
    /// The step has committed: what was told before it needs not be found out by an heir.
    fn applied(&mut self) {}
    /// Writes what is counted here, and the core knows nothing of.
    fn count(&self, _counters: &mut Counters) {}
}

/// The watcher, or the simulated one.
pub trait Watcher {
    type Descriptor;
    /// Takes an order; the descriptor comes with `Adopt` and `Retire`.
    fn order(&mut self, order: WatchOrder, notify: Option<Self::Descriptor>);
    /// All orders of this step were given.
    fn flush(&mut self) {}
    /// The next reply; a descriptor that could not be adopted comes back with it.
    fn adopted(&mut self) -> Option<(Adopted, Option<Self::Descriptor>)>;
    /// The next change that it has seen itself, where the kernel tells of none.
    fn watched(&mut self) -> Option<WatchEvent> {
        None
    }
}

/// Log, metrics and operators: everything that must never hold the engine up.
pub trait Desk {
    fn report(&mut self, report: &Report, text: &[u8]);
    fn answer(&mut self, answer: &Answer, text: &[u8]);
    fn counters(&mut self, counters: &Counters);
    /// The next order.
    fn command(&mut self) -> Option<Command>;
}

/// The engine: a core and what surrounds it.
pub struct Driver<R, H, W, K> {
    pub core: Core,
    pub ring: R,
    pub handoff: H,
    pub watcher: W,
    pub desk: K,
    inbox: Inbox,
    actions: Actions,
    stopped: bool,
    /// True exactly when another thread had more to say than fits into a step; its doorbell may
    /// have been read already.
    behind: bool,
}

impl<R, H, W, K> Driver<R, H, W, K>
where
    R: Ring,
    H: Handoff<Descriptor = R::Descriptor>,
    W: Watcher<Descriptor = R::Descriptor>,
    K: Desk,
{
    /// Joins the parts and arms the core's first operations.
    pub fn new(core: Core, ring: R, handoff: H, watcher: W, desk: K) -> io::Result<Self> {
        let mut driver = Self::join(core, ring, handoff, watcher, desk);
        driver.begin()?;
        Ok(driver)
    }

    /// Joins the parts; [`Driver::begin`] is to follow.
    pub fn join(core: Core, ring: R, handoff: H, watcher: W, desk: K) -> Self {
        let inbox = Inbox::new(core.handoffs_in_flight_max());
        let actions = Actions::new();
        Self { core, ring, handoff, watcher, desk, inbox, actions, stopped: false, behind: false }
    }

    /// A completion that the engine before us had not applied; see `core/revive.rs`. What it asked
    /// for is not done, as if we were killed in between; what it has to report is reported.
    pub fn inherit(&mut self, done: &Completion, bytes: &[u8]) {
        self.core.inherit(done, bytes, &mut self.actions);
        for action in self.actions.list.drain(..) {
            if let Action::Report(report) = action {
                self.desk.report(&report, &self.actions.bytes);
            }
        }
        self.actions.clear();
    }

    /// Takes up the clients of the engine before us, if there was one, and arms the core's first
    /// operations.
    pub fn begin(&mut self) -> io::Result<()> {
        while self.core.resume_some(&mut self.actions) {
            self.act()?;
            self.actions.clear();
        }
        self.core.start(&mut self.actions);
        if self.ring.has_marks() {
            self.core.hear_marks(&mut self.actions);
        }
        self.act()
    }

    /// One turn. `wait_ms` bounds the wait for the first completion; the core's next deadline is
    /// the caller's business, since the caller has the clock. `true` when the core has ended.
    pub fn turn(&mut self, wait_ms: Option<u32>, clock: impl FnOnce() -> Now) -> io::Result<bool> {
        self.ring.enter(if self.behind { Some(0) } else { wait_ms })?;
        self.inbox.clear();
        self.ring.reap(&mut self.inbox);
        self.hear();
        self.actions.clear();
        self.core.step(&mut self.inbox, clock(), &mut self.actions);
        self.ring.applied();
        self.handoff.applied();
        self.act()?;
        let mut counters = *self.core.counters();
        self.ring.count(&mut counters);
        self.handoff.count(&mut counters);
        self.desk.counters(&counters);
        Ok(self.stopped)
    }

    /// Replies and orders of the other threads; clients and descriptors that come back are seated
    /// before the core hears of them.
    fn hear(&mut self) {
        // Before the replies, so that the reply to its wake is never missing.
        while self.inbox.exited.len() < EXITED_MAX
            && let Some(exited) = self.handoff.exited()
        {
            self.inbox.exited.push(exited);
        }
        while self.inbox.replies.len() < self.inbox.replies.capacity()
            && let Some(Returned { reply, client, .. }) = self.handoff.returned()
        {
            if let Some(client) = client {
                self.ring.seat_client(reply.slot, client);
            }
            self.inbox.replies.push(reply);
        }
        while self.inbox.adopted.len() < self.inbox.adopted.capacity()
            && let Some((adopted, notify)) = self.watcher.adopted()
        {
            assert_eq!(notify.is_some(), adopted.outcome == Adoption::Kept);
            if let Some(notify) = notify {
                self.ring.seat_notify(adopted.slot, notify);
            }
            self.inbox.adopted.push(adopted);
        }
        while self.inbox.watched.len() < self.inbox.watched.capacity()
            && let Some(event) = self.watcher.watched()
        {
            self.inbox.watched.push(event);
        }
        while self.inbox.commands.len() < COMMANDS_MAX
            && let Some(command) = self.desk.command()
        {
            self.inbox.commands.push(command);
        }
        self.behind = self.inbox.adopted.len() == self.inbox.adopted.capacity()
            || self.inbox.watched.len() == self.inbox.watched.capacity()
            || self.inbox.replies.len() == self.inbox.replies.capacity()
            || self.inbox.exited.len() == EXITED_MAX
            || self.inbox.commands.len() == COMMANDS_MAX;
    }

    fn act(&mut self) -> io::Result<()> {
        let Self { ring, handoff, watcher, desk, actions, .. } = self;
        let is_large = actions.is_large();
        for action in actions.list.drain(..) {
            match action {
                Action::Ring(op) => push(ring, &op, &actions.bytes)?,
                Action::Wake(wake) => {
                    let client = ring.unseat_client(wake.slot);
                    handoff.send(wake.with(client));
                }
                Action::Watch(order) => {
                    let notify = match order {
                        WatchOrder::Adopt { passed, .. } => Some(ring.take_passed(passed)),
                        WatchOrder::Retire { slot } => Some(ring.unseat_notify(slot)),
                        WatchOrder::Release { .. } => None,
                    };
                    watcher.order(order, notify);
                }
                Action::Report(report) => desk.report(&report, &actions.bytes),
                Action::Answer(answer) => desk.answer(&answer, &actions.bytes),
                Action::Stopped => self.stopped = true,
            }
        }
        handoff.flush();
        watcher.flush();
        if is_large {
            *actions = Actions::new();
        }
        Ok(())
    }
}

/// A full submission queue is emptied by submitting it; an operation is never dropped.
fn push<R: Ring>(ring: &mut R, op: &Op, text: &[u8]) -> io::Result<()> {
    let mut tries = 0;
    while !ring.push(op, text) {
        ring.enter(Some(0))?;
        tries += 1;
        assert!(tries < 64, "the ring does not take {op:?}");
    }
    Ok(())
}
