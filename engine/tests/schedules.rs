//! The real loop of the engine in a thousand schedules: whatever another thread has put in place
//! and rung for is heard, also when it is more than fits into a turn.

use std::io;

use shuttle::sync::mpsc::{Receiver, sync_channel};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use torpor_engine::command::{Answer, Command};
use torpor_engine::core::{Core, Now};
use torpor_engine::drive::{Desk, Driver, Handoff, Watcher};
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::report::{Counters, Report};
use torpor_engine::ring::{COMMANDS_MAX, Completion, Inbox, Op, Passed, Ring};
use torpor_engine::token::Token;
use torpor_engine::watch::{Adopted, WatchOrder};
use torpor_handoff::message::{Exited, Returned, Wake};

/// The eventfd that the other threads ring.
#[derive(Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.rings.notify_one();
    }
}

/// A ring on which nothing happens but the bell.
struct Quiet {
    bell: Arc<Bell>,
    doorbell: Option<Token>,
    has_rung: bool,
}

impl Ring for Quiet {
    type Descriptor = ();

    fn push(&mut self, op: &Op, _text: &[u8]) -> bool {
        if let Op::ReadDoorbell { token } = op {
            self.doorbell = Some(*token);
        }
        true
    }

    /// As the kernel does it: what ends the wait is read, and so silenced.
    fn enter(&mut self, wait_ms: Option<u32>) -> io::Result<()> {
        let mut is_rung = self.bell.is_rung.lock().unwrap();
        while !*is_rung && wait_ms.is_none() {
            is_rung = self.bell.rings.wait(is_rung).unwrap();
        }
        self.has_rung = std::mem::take(&mut is_rung);
        Ok(())
    }

    fn reap(&mut self, inbox: &mut Inbox) {
        if std::mem::take(&mut self.has_rung) {
            let token = self.doorbell.expect("armed at start");
            inbox.completions.push(Completion::plain(token, 8, true));
        }
    }

    fn applied(&mut self) {}
    fn seat_client(&mut self, _slot: u32, _client: ()) {}
    fn unseat_client(&mut self, _slot: u32) {}

    fn take_passed(&mut self, _passed: Passed) {}
    fn seat_notify(&mut self, _slot: u32, _notify: ()) {}
    fn unseat_notify(&mut self, _slot: u32) {}
}

/// Nobody sleeps, so there is nothing to say on the other sides.
struct Nobody;

impl Handoff for Nobody {
    type Descriptor = ();
    fn send(&mut self, wake: Wake<()>) {
        panic!("{wake:?}");
    }
    fn returned(&mut self) -> Option<Returned<()>> {
        None
    }
    fn exited(&mut self) -> Option<Exited> {
        None
    }
}

impl Watcher for Nobody {
    type Descriptor = ();
    fn order(&mut self, order: WatchOrder, _notify: Option<()>) {
        panic!("{order:?}");
    }
    fn adopted(&mut self) -> Option<(Adopted, Option<()>)> {
        None
    }
}

/// Orders come from another thread.
struct Orders {
    orders: Receiver<Command>,
    answered: u64,
}

impl Desk for Orders {
    fn report(&mut self, report: &Report, _text: &[u8]) {
        panic!("{report:?}");
    }
    fn answer(&mut self, answer: &Answer, _text: &[u8]) {
        self.answered += 1;
        assert_eq!(answer.ticket, self.answered, "in order");
    }
    fn counters(&mut self, _counters: &Counters) {}
    fn command(&mut self) -> Option<Command> {
        self.orders.try_recv().ok()
    }
}

fn orders_are_heard() {
    let limits = Limits { slots_max: 1, conns_max: 1, line_bytes_max: 1024, ..Limits::default() };
    let core = Core::new(&limits, Knobs::default(), 1);
    let bell = Arc::new(Bell::default());
    let (send, orders) = sync_channel(ORDERS as usize);
    let ring = Quiet { bell: Arc::clone(&bell), doorbell: None, has_rung: false };
    let operator = thread::spawn(move || {
        for ticket in 1..=ORDERS {
            send.send(Command::Reload { ticket, knobs: Knobs::default() }).expect("there is room");
            bell.ring();
        }
    });
    let desk = Orders { orders, answered: 0 };
    let mut engine = Driver::new(core, ring, Nobody, Nobody, desk).expect("nothing can fail");
    while engine.desk.answered < ORDERS {
        engine.turn(None, || Now { mono_ms: 1, wall_us: 1 }).expect("nothing can fail");
    }
    operator.join().unwrap();
}

#[test]
fn no_schedule_loses_an_order() {
    shuttle::check_random(orders_are_heard, SCHEDULES);
    shuttle::check_pct(orders_are_heard, SCHEDULES, 3);
}

/// More than a turn takes.
const ORDERS: u64 = COMMANDS_MAX as u64 + 3;
const SCHEDULES: usize = 500;
