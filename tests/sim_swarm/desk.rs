//! Operators: what they order, and whether they are answered.

use std::collections::VecDeque;

use torpor_engine::command::{Answer, Command};
use torpor_engine::drive::Desk;
use torpor_engine::report::{Counters, Event, Report};

use crate::alloc;
use crate::faults::{Fault, Swarm};
use crate::session::Owner;
use crate::world::{Shared, World};

#[derive(Default)]
pub struct Orders {
    queue: VecDeque<Command>,
    /// Orders that were not answered: ticket, and the user who is kicked.
    open: Vec<(u64, Option<u32>)>,
    last_ticket: u64,
    next_ms: u64,
    /// Per user: when the last kick was answered; the end of time while one is under way.
    kicked_ms: Vec<u64>,
    pub hibernated: u64,
    pub ended: u64,
    /// True exactly when an engine may have been killed before it had said what it did.
    pub is_hushed: bool,
    /// Shortest limits of waiting so far, milliseconds; 0: none.
    pub input_wait_ms: u64,
    pub change_wait_ms: u64,
    /// The most workers that were ever allowed.
    pub workers_max: u32,
    /// The least reach of an adoption's look back.
    pub late_change_ms: u64,
}

impl Orders {
    pub fn are_answered(&self) -> bool {
        self.open.is_empty()
    }

    /// True when a kick may have met a client of this user that was given at that time.
    pub fn may_kick(&self, user: u32, given_ms: u64) -> bool {
        self.kicked_ms.get(user as usize).is_some_and(|at| *at >= given_ms)
    }

    /// True while a kick of this user is not answered.
    pub fn is_kicking(&self, user: u32) -> bool {
        self.kicked_ms.get(user as usize) == Some(&u64::MAX)
    }

    /// The engine has died: who waits for its answer finds the connection closed.
    fn forget(&mut self, now_ms: u64) {
        self.queue.clear();
        for user in self.open.drain(..).filter_map(|(_, kicked)| kicked) {
            self.kicked_ms[user as usize] = now_ms;
        }
    }

    fn ticket(&mut self, kicked: Option<u32>) -> u64 {
        self.last_ticket += 1;
        self.open.push((self.last_ticket, kicked));
        self.last_ticket
    }
}

impl World {
    /// An order without an answer may have been carried out, or not.
    pub fn forget_orders(&mut self) {
        for session in &mut self.sessions {
            session.must_go &= !self.orders.is_kicking(self.clients[session.client].user);
        }
        self.orders.forget(self.mono_ms);
    }

    pub fn note_waits(&mut self) {
        let (knobs, orders) = (&self.swarm.knobs, &mut self.orders);
        orders.late_change_ms = orders.late_change_ms.min(knobs.late_change_ms);
        orders.workers_max = orders.workers_max.max(knobs.workers_max);
        for (known, now) in [
            (&mut orders.input_wait_ms, knobs.input_wait_ms_max),
            (&mut orders.change_wait_ms, knobs.change_wait_ms_max),
        ] {
            if now > 0 && (*known == 0 || now < *known) {
                *known = now;
            }
        }
    }

    pub fn run_orders(&mut self) {
        if self.calm || self.mono_ms < self.orders.next_ms {
            return;
        }
        self.orders.next_ms = self.mono_ms + self.random.ms(100, 3 * self.swarm.rest_ms);
        let command = if self.fault(Fault::Who, 3) {
            let user = self.random.one_in(2).then(|| self.some_user().1);
            Command::Who { ticket: self.orders.ticket(None), cursor: 0, user }
        } else if self.fault(Fault::Kick, 4) {
            self.kick()
        } else if self.fault(Fault::Reload, 4) {
            self.swarm.knobs = Swarm::knobs(&mut self.random);
            self.note_waits();
            Command::Reload { ticket: self.orders.ticket(None), knobs: self.swarm.knobs.clone() }
        } else if self.fault(Fault::Relisten, 4) {
            Command::Relisten { ticket: self.orders.ticket(None) }
        } else {
            return;
        };
        self.order(command);
    }

    pub fn order_stop(&mut self) {
        self.stopping = true;
        self.fell(Fault::Stop);
        let ticket = self.orders.ticket(None);
        self.order(Command::Stop { ticket });
    }

    fn order(&mut self, command: Command) {
        self.tell(|| format!("operator: {command:?}"));
        self.orders.queue.push_back(command);
        self.kernel.ring_bell();
    }

    fn some_user(&mut self) -> (u32, Box<[u8]>) {
        let user = self.random.below(self.swarm.users);
        (user, format!("u{user}").into_bytes().into())
    }

    fn kick(&mut self) -> Command {
        let (mut number, mut user) = self.some_user();
        // The hardest to kick is one whom a worker may be taking at this moment.
        let handed = self.sessions.iter().find(|session| session.live && session.handed);
        if let Some(session) = handed {
            number = self.clients[session.client].user;
            user = format!("u{number}").into_bytes().into();
        }
        let ticket = self.orders.ticket(Some(number));
        self.orders.kicked_ms.resize(self.swarm.users as usize, 0);
        self.orders.kicked_ms[number as usize] = u64::MAX;
        let mut session = None;
        for entry in &mut self.sessions {
            let its = entry.live && self.clients[entry.client].user == number;
            if its && entry.owner == Owner::Engine && entry.asleep_ms.is_some() {
                session = Some(entry.serial);
                entry.must_go = true;
            }
        }
        let one = session.filter(|_| self.random.one_in(3));
        if let Some(serial) = one {
            for entry in self.sessions.iter_mut().filter(|entry| entry.serial != serial) {
                entry.must_go &= self.clients[entry.client].user != number;
            }
        }
        let session = one.map(|serial| format!("s{serial}").into_bytes().into());
        Command::Kick { ticket, cursor: 0, user, session }
    }
}

/// The simulated desk.
pub struct SimDesk(pub Shared);

impl Desk for SimDesk {
    fn report(&mut self, report: &Report, text: &[u8]) {
        alloc::pause();
        let mut world = self.0.borrow_mut();
        world.tell(|| {
            format!("  report {:?} {}", report.event, report.text.of(text).escape_ascii())
        });
        match report.event {
            Event::Hibernated => world.orders.hibernated += 1,
            Event::Unhibernated(_) | Event::Disconnected(_) => world.orders.ended += 1,
            _ => return,
        }
        let orders = &world.orders;
        let is_once = orders.ended <= orders.hibernated || orders.is_hushed;
        assert!(is_once, "[8] a client ended twice");
        let card = report.card.of(text);
        assert_eq!(card.split(|byte| *byte == b'\t').count(), 12, "a card has twelve fields");
    }

    fn answer(&mut self, answer: &Answer, text: &[u8]) {
        alloc::pause();
        let mut world = self.0.borrow_mut();
        let found = world.orders.open.iter().position(|(ticket, _)| *ticket == answer.ticket);
        let (_, kicked) = world.orders.open.swap_remove(found.expect("an order is answered once"));
        let lines = answer.text.of(text).iter().filter(|byte| **byte == b'\n').count();
        assert!(lines == 0 || lines == answer.count as usize, "a line a card");
        assert_eq!(answer.cursor, None, "sixteen slots are one page");
        if let Some(user) = kicked {
            let now_ms = world.mono_ms;
            world.orders.kicked_ms[user as usize] = now_ms;
        }
    }

    fn counters(&mut self, counters: &Counters) {
        alloc::pause();
        let world = self.0.borrow();
        assert!(counters.in_flight <= world.swarm.limits.handoffs_in_flight_max.into(), "[10]");
        assert!(counters.asleep <= world.swarm.limits.slots_max.into(), "[8]");
        assert!(counters.conns <= world.swarm.limits.conns_max.into(), "[8]");
    }

    fn command(&mut self) -> Option<Command> {
        self.0.borrow_mut().orders.queue.pop_front()
    }
}
