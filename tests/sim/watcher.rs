//! The simulated watcher: orders and replies that may be late, each kind in its order.

use std::collections::VecDeque;

use torpor_engine::drive::Watcher;
use torpor_engine::watch::{Adopted, Adoption, WatchOrder};

use crate::counting;
use crate::faults::Fault;
use crate::net::{Mailbox, Net, Shared, SimFd, Thing};

pub struct SimWatcher {
    net: Shared,
    orders: VecDeque<(u64, WatchOrder, Option<SimFd>)>,
    replies: VecDeque<(u64, Adopted, Option<SimFd>)>,
    /// What the watcher of a dead engine has still to do, and does while this one is at work.
    left: VecDeque<(u64, Left)>,
}

/// What an order does to the shared instance.
enum Left {
    Watch { mailbox: usize },
    Release { wd: i32 },
}

impl SimWatcher {
    pub fn new(net: Shared) -> Self {
        Self { net, orders: VecDeque::new(), replies: VecDeque::new(), left: VecDeque::new() }
    }

    /// Its engine was killed: nobody hears its replies, and what it has read of its orders it does.
    pub fn heir(self) -> Self {
        let mut heir = Self::new(self.net.clone());
        heir.left = self.left;
        let read = self.net.borrow_mut().random.below(self.orders.len() as u64 + 1) as usize;
        for (at, order, notify) in self.orders.into_iter().take(read) {
            let left = match (order, notify.map(|notify| notify.thing)) {
                (WatchOrder::Release { wd }, _) => Left::Release { wd },
                (WatchOrder::Adopt { .. }, Some(Thing::Notify(notify))) => {
                    Left::Watch { mailbox: self.net.borrow().notifies[notify].mailbox }
                }
                _ => continue,
            };
            heir.left.push_back((at, left));
        }
        heir
    }

    /// Descriptors in its hands.
    pub fn held(&self) -> usize {
        let waiting = self.orders.iter().filter(|order| order.2.is_some()).count();
        waiting + self.replies.iter().filter(|reply| reply.2.is_some()).count()
    }

    /// Works orders off in their order, each when its time has come.
    pub fn tick(&mut self) {
        let mut net = self.net.borrow_mut();
        let now_ms = net.now.mono_ms;
        // Nobody waits for these.
        while let Some((_, left)) = self.left.pop_front_if(|(at, _)| *at <= now_ms) {
            match left {
                Left::Watch { mailbox } => drop(watch(&mut net, mailbox)),
                Left::Release { wd } => release(&mut net, wd),
            }
        }
        while let Some((at, _, _)) = self.orders.front()
            && *at <= net.now.mono_ms
        {
            let (_, order, notify) = self.orders.pop_front().expect("there is one");
            match order {
                WatchOrder::Adopt { slot, generation, since_us, .. } => {
                    let notify = notify.expect("it comes with its descriptor");
                    let (outcome, notify) = adopt(&mut net, notify, since_us);
                    net.say(|| format!("slot {slot}: {outcome:?}"));
                    let late = net.strikes(Fault::AdoptionLate, 300);
                    let delay_ms = if late { net.random.below(300) } else { 0 };
                    let last_ms = self.replies.back().map_or(0, |reply| reply.0);
                    let due_ms = (net.now.mono_ms + delay_ms).max(last_ms);
                    let adopted = Adopted { slot, generation, outcome };
                    self.replies.push_back((due_ms, adopted, notify));
                }
                WatchOrder::Release { wd } => release(&mut net, wd),
                WatchOrder::Retire { .. } => drop(notify),
            }
        }
    }
}

fn adopt(net: &mut Net, notify: SimFd, since_us: u64) -> (Adoption, Option<SimFd>) {
    let Thing::Notify(at) = notify.thing else { panic!("adopted what is no notify descriptor") };
    if net.strikes(Fault::Unadoptable, 300) {
        // Late changes are not looked for in what cannot be opened: no promise, no check.
        let mailbox = net.notifies[at].mailbox;
        net.notifies[at].readable |= net.mailboxes[mailbox].changed_us >= since_us;
        return (Adoption::Kept, Some(notify));
    }
    let mailbox = net.notifies[at].mailbox;
    let wds = watch(net, mailbox);
    // The watches are on before this last look, so that nothing falls between.
    let late = net.mailboxes[mailbox].changed_us >= since_us;
    let changed = net.notifies[at].readable || late;
    (Adoption::Shared { wds: [wds[0], wds[1], -1, -1], polled: false, changed }, None)
}

fn watch(net: &mut Net, mailbox: usize) -> [i32; 2] {
    let next_wd = net.next_wd;
    let wds = *net.mailboxes[mailbox].wds.get_or_insert([next_wd, next_wd + 1]);
    net.next_wd = next_wd.max(wds[1] + 1);
    wds
}

fn release(net: &mut Net, wd: i32) {
    assert!(wd < net.next_wd, "released a watch that never was");
    // Both watches of a mailbox are released together.
    let with_it = |entry: &&mut Mailbox| entry.wds.is_some_and(|wds| wds.contains(&wd));
    if let Some(mailbox) = net.mailboxes.iter_mut().find(with_it) {
        let wds = mailbox.wds.take().expect("found by them");
        net.shared.extend(wds.map(|wd| (wd, 0x8000)));
    }
}

impl Watcher for SimWatcher {
    type Descriptor = SimFd;

    fn order(&mut self, order: WatchOrder, notify: Option<SimFd>) {
        counting::pause();
        let mut net = self.net.borrow_mut();
        let late = net.strikes(Fault::AdoptionLate, 300);
        let delay_ms = if late { net.random.below(2000) } else { 0 };
        // A queue: nobody overtakes.
        let least_ms = self.orders.back().map_or(0, |order| order.0);
        let at = (net.now.mono_ms + delay_ms).max(least_ms);
        self.orders.push_back((at, order, notify));
    }

    fn adopted(&mut self) -> Option<(Adopted, Option<SimFd>)> {
        let now_ms = self.net.borrow().now.mono_ms;
        self.replies.pop_front_if(|reply| reply.0 <= now_ms).map(|(_, reply, fd)| (reply, fd))
    }
}
