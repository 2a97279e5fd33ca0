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
//! * `core/wake.rs`: the queue, the join, the handoff and its replies
//! * `core/leave.rs`: good-byes
//! * `core/order.rs`: orders of the operator
//! * `core/complete.rs`: which of these a completion is for
//! * `core/check.rs`: from state to state
//! * `core/card.rs`: words for reports

mod accept;
mod card;
mod check;
mod client;
mod complete;
mod conn;
mod leave;
mod mail;
mod offer;
mod order;
mod send;
mod stage;
mod tell;
mod wake;
mod word;

use slab::Slab;
use torpor_handoff::queue::Queue;
use torpor_handoff::window::Window;

use crate::action::Actions;
use crate::awake::Awake;
use crate::cold::Cold;
use crate::limits::{AWAKE_MAX, EXPIRIES_PER_STEP, Knobs, Limits};
use crate::mailboxes::Mailboxes;
use crate::report::Counters;
use crate::ring::{Inbox, Op};
use crate::slots::Slots;
use crate::state::{Event, State};
use crate::token::{Kind, Token};
use crate::wheel::Wheel;

use accept::Accept;
use conn::Conn;
use mail::Orphans;
use order::Stop;
use send::{STALLED_MAX, Send};
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
    conn_generation: u32,
    sends: Slab<Send>,
    /// Sends that wait, or have waited, to finish their channel switch.
    stalled_sends: u32,

    stages: Stages,
    queue: Queue,
    window: Window,
    awake: Awake,
    /// When each queued slot began to wait, milliseconds; true while it is queued or handed.
    queued_ms: Vec<u64>,
    /// When a worker last took a client: the queue moves.
    moved_ms: u64,
    in_flight: u32,
    parcels: Vec<Vec<u8>>,
    accept: Accept,
    /// Counts accepts: the completion of an old one's cancel may come when the next is armed.
    accept_generation: u32,
    sweep_ms: u64,
    stop: Option<Stop>,
    /// Work was left over by a budget: step again at once.
    busy: bool,
    /// Room for one line, one input and one text while they are worked on.
    line: Vec<u8>,
    input: Vec<u8>,
    text: Vec<u8>,
    /// Clients in each state.
    counts: [u32; State::ALL.len()],
    visits: [[u32; Event::ALL.len()]; State::ALL.len()],
}

impl Core {
    /// Reserves all that the limits allow for, in memory; `seed` feeds the jitter of retries.
    pub fn new(limits: &Limits, knobs: Knobs, seed: u64) -> Self {
        Self::with_cold(limits, knobs, seed, Cold::new(limits, None).expect("memory"))
    }

    /// The same over a cold store of these limits that the caller has made.
    pub fn with_cold(limits: &Limits, knobs: Knobs, seed: u64, cold: Cold) -> Self {
        limits.check().expect("the caller checks the limits");
        knobs.check().expect("the caller checks the knobs");
        let in_flight_max = limits.handoffs_in_flight_max;
        // A line grows by what base64 makes of input and leftover output, both bounded.
        let parcel_bytes = limits.line_bytes_max as usize + PARCEL_EXTRA_BYTES;
        let parcel = |_| Vec::with_capacity(parcel_bytes);
        Self {
            limits: limits.clone(),
            knobs,
            counters: Counters::default(),
            now: Now::default(),
            slots: Slots::new(limits.slots_max),
            cold,
            wheel: Wheel::new(),
            mailboxes: Mailboxes::new(limits.mailboxes_max),
            orphans: Orphans::new(),
            conns: Slab::with_capacity(limits.conns_max as usize),
            conn_generation: 0,
            sends: Slab::with_capacity((limits.sends_in_flight_max + STALLED_MAX + 1) as usize),
            stalled_sends: 0,
            stages: Stages::default(),
            queue: Queue::new(limits.slots_max),
            window: Window::new(in_flight_max, seed),
            awake: Awake::new(limits.awake_max() as usize),
            queued_ms: vec![0; limits.slots_max as usize],
            moved_ms: 0,
            in_flight: 0,
            parcels: (0..in_flight_max).map(parcel).collect(),
            accept: Accept::Off,
            accept_generation: 0,
            sweep_ms: 0,
            stop: None,
            busy: false,
            line: Vec::with_capacity(parcel_bytes),
            input: Vec::with_capacity(INPUT_BYTES_MAX),
            text: Vec::with_capacity(parcel_bytes),
            counts: [0; State::ALL.len()],
            visits: Default::default(),
        }
    }

    /// Arms accept, the shared inotify instance, the doorbell and the epoll set.
    pub fn start(&mut self, out: &mut Actions) {
        assert_eq!(self.slots.used(), 0, "started before anybody came");
        assert_eq!(self.accept, Accept::Off, "started once");
        self.arm_accept(out);
        out.ring(Op::ReadWatch { token: Token::new(Kind::Watch, 0, 0) });
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
            || self.awake.count() > 0;
        let sweep = sweeping.then_some(self.sweep_ms);
        let rest = self.queue.next_rest_ms();
        let pause = (!self.queue.is_empty()).then(|| self.window.resumes_ms()).flatten();
        [self.wheel.next_ms(), sweep, rest, pause].into_iter().flatten().min()
    }

    /// Counts and gauges.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How often each event found a client in each state.
    pub fn visits(&self) -> &[[u32; Event::ALL.len()]; State::ALL.len()] {
        &self.visits
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
        self.awake.expire(self.now.mono_ms.saturating_sub(self.knobs.awake_age_ms_max));
        if let Accept::Later(at) = self.accept
            && self.now.mono_ms >= at
        {
            self.arm_accept(out);
        }
    }
}

/// Client input that the engine can come to hold: what the record has, and two arms' worth.
const INPUT_BYTES_MAX: usize = 1024;
/// Room in a request line for base64 of input and output and for the words we add.
const PARCEL_EXTRA_BYTES: usize = 4096;
/// Between two looks at what has no deadline of its own.
const SWEEP_MS: u64 = 1000;

const _: () = assert!(AWAKE_MAX > 0);

#[cfg(test)]
mod tests;
