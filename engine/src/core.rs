//! The machine: completions, replies and the time go in, actions come out.
//!
//! No syscall, no clock, no descriptor number, and no allocation after [`Core::new`]. What may
//! happen to a client is the table in `state.rs`; what is done about it is here, by subject:
//!
//! * `core/accept.rs`, `core/conn.rs`, `core/word.rs`: hibernate connections, what comes in on
//!   them and what goes out, up to the moment a client is ours
//! * `core/offer.rs`: a hibernate line becomes a client; its watches are adopted
//! * `core/client.rs`, `core/tell.rs`, `core/send.rs`: what a sleeping client says and is told
//! * `core/stage.rs`: how a sleeping client is heard
//! * `core/mail.rs`: what happens to mailboxes
//! * `core/wake.rs`, `core/wait.rs`: the queue, the join, the handoff and its replies; patience
//! * `core/leave.rs`: good-byes
//! * `core/order.rs`: orders of the operator
//! * `core/complete.rs`: which of these a completion is for
//! * `core/check.rs`: from state to state
//! * `core/card.rs`, `core/cards.rs`: words for reports
//! * `core/begin.rs`: over new memory; `core/rebuild.rs`, `core/revive.rs`: over that of an engine
//!   that was killed

mod accept;
mod begin;
mod card;
mod cards;
mod check;
mod client;
mod complete;
mod conn;
mod leave;
mod line;
mod mail;
mod offer;
mod order;
mod rebuild;
mod revive;
mod send;
mod stage;
mod tell;
mod wait;
mod wake;
mod word;

use slab::Slab;
use torpor_handoff::queue::Queue;
use torpor_handoff::window::Window;

use crate::action::Actions;
use crate::awake::Awake;
use crate::cold::Cold;
use crate::limits::{EXPIRIES_PER_STEP, Knobs, Limits};
use crate::mailboxes::Mailboxes;
use crate::report::Counters;
use crate::ring::{Inbox, Op};
use crate::sends::Sends;
use crate::slots::Slots;
use crate::state::{Event, State};
use crate::token::{Kind, Token};
use crate::watch::INOTIFY;
use crate::wheel::Wheel;

use accept::Accept;
use begin::Parcel;
use cards::Cards;
use conn::Conn;
use mail::Orphans;
use order::Stop;
use revive::Reviving;
use stage::Stages;

/// The time, as the caller has it: the core reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_BOOTTIME, milliseconds. Deadlines live here.
    pub mono_ms: u64,
    /// CLOCK_REALTIME, microseconds since the epoch. For keepalive phases and time stamps only.
    pub wall_us: u64,
}

/// The engine's core. See the module.
pub struct Core {
    limits: Limits,
    knobs: Knobs,
    counters: Counters,
    now: Now,

    slots: Slots,
    cold: Cold,
    wheel: Wheel,
    mailboxes: Mailboxes,
    orphans: Orphans,

    conns: Slab<Conn>,
    sends: Sends,
    /// Sends that wait, or have waited, to finish their channel switch.
    stalled_sends: u32,

    stages: Stages,
    queue: Queue,
    window: Window,
    awake: Awake,
    /// When a worker last took a client: the queue moves.
    moved_ms: u64,
    in_flight: u32,
    parcels: Vec<Parcel>,
    cards: Cards,
    accept: Accept,
    /// Counts accepts: the completion of an old one's cancel may come when the next is armed.
    accept_generation: u32,
    /// How often an heir has still to begin its accept anew.
    reaccepts: u32,
    sweep_ms: u64,
    stop: Option<Stop>,
    /// Work was left over by a budget: step again at once.
    busy: bool,
    /// Some exactly until all clients of an engine that was killed are taken care of.
    reviving: Option<Reviving>,
    /// Some exactly if this is an heir: the last watch that was let go because nobody sleeps on it,
    /// -1 at first.
    stray: Option<i32>,
    /// Room for one line, one input and one text while they are worked on.
    line: Vec<u8>,
    input: Vec<u8>,
    text: Vec<u8>,
    /// Clients in each state.
    counts: [u32; State::ALL.len()],
    visits: [[u32; Event::ALL.len()]; State::ALL.len()],
}

impl Core {
    /// Arms accept, the shared inotify instance, the doorbell and the epoll set.
    pub fn start(&mut self, out: &mut Actions) {
        assert!(self.reviving.is_none(), "nobody comes in before those who were here");
        assert_eq!(self.accept, Accept::Off, "started once");
        self.arm_accept(out);
        out.ring(Op::ReadWatch { token: Token::new(Kind::Watch, 0, INOTIFY) });
        out.ring(Op::ReadItems { token: Token::new(Kind::Items, 0, 0) });
        out.ring(Op::ReadDoorbell { token: Token::new(Kind::Doorbell, 0, 0) });
    }

    /// One step: everything in the inbox, then what has become due.
    pub fn step(&mut self, inbox: &mut Inbox, now: Now, out: &mut Actions) {
        assert!(now.mono_ms >= self.now.mono_ms, "the monotonic clock went back");
        assert!(out.list.is_empty() && out.bytes.is_empty(), "actions of an earlier step");
        self.now = now;
        self.busy = false;
        for completion in inbox.completions.drain(..) {
            self.complete(&completion, &inbox.bytes, out);
        }
        for adopted in inbox.adopted.drain(..) {
            self.adopted(adopted, out);
        }
        for event in inbox.watched.drain(..) {
            self.watch_event(event, out);
        }
        for reply in inbox.replies.drain(..) {
            self.reply(reply, out);
        }
        for exited in inbox.exited.drain(..) {
            self.exited(&exited);
        }
        for command in inbox.commands.drain(..) {
            self.command(command, out);
        }
        self.expire(out);
        self.wake_changed(out);
        if now.mono_ms >= self.sweep_ms {
            self.sweep(out);
            self.sweep_ms = now.mono_ms + SWEEP_MS;
        }
        self.grant(out);
        self.stop_some(out);
        self.gauge();
        self.commit(inbox.taken);
    }

    /// When the core next wants a step even if nothing happens, on the clock of
    /// [`Now::mono_ms`].
    pub fn next_deadline_ms(&self) -> Option<u64> {
        assert!(self.queue.is_empty() || self.slots.used() > 0, "nobody is queued");
        assert!(self.now.mono_ms > 0 || self.slots.used() == 0);
        if self.busy {
            return Some(self.now.mono_ms);
        }
        let sweeping = !self.conns.is_empty()
            || !self.queue.is_empty()
            || matches!(self.accept, Accept::Later(_))
            || self.reaccepts > 0
            || self.sends.is_large()
            || self.cold.is_large()
            || self.awake.count() > 0;
        let sweep = sweeping.then_some(self.sweep_ms);
        let rest = self.queue.next_rest_ms();
        let pause = (!self.queue.is_empty()).then(|| self.window.resumes_ms()).flatten();
        let ripe = self.mailboxes.next_ripe_ms(self.now.mono_ms, self.debounce());
        [self.wheel.next_ms(), sweep, rest, pause, ripe].into_iter().flatten().min()
    }

    /// Counts and gauges.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How often each event found a client in each state.
    pub fn visits(&self) -> &[[u32; Event::ALL.len()]; State::ALL.len()] {
        &self.visits
    }

    /// What its memory was made for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Conversations at once.
    pub fn handoffs_in_flight_max(&self) -> usize {
        self.limits.handoffs_in_flight_max as usize
    }

    fn expire(&mut self, out: &mut Actions) {
        assert!(self.queue.len() <= self.slots.used(), "a free slot is queued");
        let mut budget = EXPIRIES_PER_STEP;
        assert!(self.wheel.armed() <= self.slots.used(), "a free slot has a deadline");
        let now_ms = self.now.mono_ms;
        while let Some((slot, due_ms)) = self.wheel.expire(&mut self.slots, now_ms, &mut budget) {
            self.beat(slot, due_ms, out);
        }
        self.busy |= budget == 0;
    }

    /// What is looked at once a second.
    fn sweep(&mut self, out: &mut Actions) {
        assert!(self.awake.count() <= self.limits.awake_max());
        assert!(self.now.mono_ms >= self.sweep_ms);
        self.sweep_conns(out);
        self.sweep_waiting(out);
        let before_ms = self.now.mono_ms.saturating_sub(self.knobs.awake_age_ms_max);
        self.awake.expire(before_ms, &mut self.slots);
        self.sweep_accept(out);
        self.sends.give_back();
        self.cold.give_back();
    }
}

/// Between two looks at what has no deadline of its own.
const SWEEP_MS: u64 = 1000;

#[cfg(test)]
mod tests;
