//! Orders that an engine has given and its watcher may not have carried out.
//!
//! ```text
//! front ── sent, not known to be done ──┃── not sent yet ── back
//! ```
//! A watcher takes orders one after the other, so its reply to one says that those before it are
//! done. What a dead watcher leaves here, the next one is given again: adopting twice brings the
//! same numbers, releasing twice is nothing.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::watch::WatchOrder;

/// In the order in which they were given.
#[derive(Default)]
pub struct Orders {
    all: VecDeque<Entry>,
    /// So many from the front were sent.
    sent: usize,
    /// So many are adoptions.
    adoptions: usize,
    /// Of the last one that was given.
    serial: u64,
}

/// An order that is open.
#[derive(Debug)]
pub struct Entry {
    pub serial: u64,
    pub order: WatchOrder,
    /// Ours, until the watcher has replied.
    pub notify: Option<OwnedFd>,
    given: Instant,
}

/// What a reply was to.
#[derive(Debug)]
pub enum Replied {
    /// These, the last of which has the reply's serial; those before it were passed over.
    To(Vec<Entry>),
    /// An order that was waited for too long.
    Late,
    /// None that was ever sent.
    Nothing,
}

impl Orders {
    pub fn push(&mut self, order: WatchOrder, notify: Option<OwnedFd>, now: Instant) {
        self.serial += 1;
        self.adoptions += usize::from(is_adoption(&order));
        self.all.push_back(Entry { serial: self.serial, order, notify, given: now });
    }

    /// The one to be sent next.
    pub fn next(&self) -> Option<&Entry> {
        self.all.get(self.sent)
    }

    /// It was. What is retired is not ours any more then.
    pub fn sent(&mut self) {
        match self.next().map(|entry| entry.order) {
            Some(WatchOrder::Retire { .. }) => drop(self.all.remove(self.sent)),
            entry => {
                assert!(entry.is_some(), "nothing was to be sent");
                self.sent += 1;
            }
        }
    }

    /// Nobody is left who would carry them out.
    pub fn unsend(&mut self) {
        self.sent = 0;
    }

    /// The adoption of this serial was replied to.
    pub fn replied(&mut self, serial: u64) -> Replied {
        let unsent = self.next().map_or(self.serial + 1, |entry| entry.serial);
        if serial == 0 || serial >= unsent {
            return Replied::Nothing;
        }
        let end = self.all.partition_point(|entry| entry.serial <= serial);
        assert!(end <= self.sent, "serials rise");
        let mut done: Vec<Entry> = self.all.drain(..end).collect();
        self.sent -= end;
        done.retain(|entry| is_adoption(&entry.order));
        self.adoptions -= done.len();
        if self.all.len() < ROOM / 2 {
            // What a storm has needed is not kept.
            self.all.shrink_to(ROOM);
        }
        match done.last() {
            Some(entry) if entry.serial == serial => Replied::To(done),
            // Others before it may have been passed over; they become overdue.
            _ => {
                self.adoptions += done.len();
                self.sent += done.len();
                done.into_iter().rev().for_each(|entry| self.all.push_front(entry));
                Replied::Late
            }
        }
    }

    /// An adoption that has waited for so long.
    pub fn overdue(&mut self, now: Instant, patience: Duration) -> Option<Entry> {
        let at = self.first_adoption().filter(|at| self.all[*at].given + patience <= now)?;
        self.sent -= usize::from(at < self.sent);
        self.adoptions -= 1;
        self.all.remove(at)
    }

    /// When there will be one.
    pub fn due(&self, patience: Duration) -> Option<Instant> {
        self.first_adoption().map(|at| self.all[at].given + patience)
    }

    fn first_adoption(&self) -> Option<usize> {
        let mut all = self.all.iter();
        if self.adoptions == 0 { None } else { all.position(|entry| is_adoption(&entry.order)) }
    }
}

/// Orders that are open at once when little happens.
const ROOM: usize = 64;

fn is_adoption(order: &WatchOrder) -> bool {
    matches!(order, WatchOrder::Adopt { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Passed, PassedKind};

    fn adopt(slot: u32) -> WatchOrder {
        let kind = PassedKind::Inotify;
        let passed = Passed { lobby: 0, kind, dev_major: 0, dev_minor: 0, inode: 1 };
        WatchOrder::Adopt { passed, slot, generation: 1, since_us: 0 }
    }

    /// All that is to be sent, as it is sent.
    fn send_all(orders: &mut Orders) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(entry) = orders.next() {
            sent.push(entry.serial);
            orders.sent();
        }
        sent
    }

    fn serials(replied: Replied) -> Vec<u64> {
        let Replied::To(entries) = replied else { panic!("{replied:?}") };
        entries.iter().map(|entry| entry.serial).collect()
    }

    #[test]
    fn what_is_not_known_to_be_done_is_given_again_and_nothing_else() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        orders.push(adopt(1), None, now);
        orders.push(WatchOrder::Release { wd: 5 }, None, now);
        orders.push(WatchOrder::Retire { slot: 2 }, None, now);
        orders.push(adopt(3), None, now);
        orders.push(WatchOrder::Release { wd: 6 }, None, now);
        assert_eq!(send_all(&mut orders), [1, 2, 3, 4, 5]);
        assert_eq!(serials(orders.replied(1)), [1]);
        orders.unsend();
        assert_eq!(send_all(&mut orders), [2, 4, 5], "what was retired is nobody's");
        assert_eq!(serials(orders.replied(4)), [4]);
        orders.unsend();
        assert_eq!(send_all(&mut orders), [5], "the release before it is done");
        assert_eq!(orders.due(Duration::ZERO), None, "no adoption is waited for");
    }

    #[test]
    fn what_a_storm_has_needed_is_given_back() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        (0..5000).for_each(|wd| orders.push(WatchOrder::Release { wd }, None, now));
        orders.push(adopt(1), None, now);
        assert_eq!(send_all(&mut orders).len(), 5001);
        assert!(orders.all.capacity() > 5000);
        assert_eq!(serials(orders.replied(5001)), [5001]);
        assert!(orders.all.capacity() <= ROOM, "{} places are kept", orders.all.capacity());
    }

    #[test]
    fn replies_to_nothing_are_told_from_late_ones() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        let patience = Duration::from_secs(1);
        (1..=3).for_each(|slot| orders.push(adopt(slot), None, now));
        assert!(matches!(orders.replied(1), Replied::Nothing), "not sent yet");
        send_all(&mut orders);
        assert!(matches!(orders.replied(0), Replied::Nothing));
        assert!(matches!(orders.replied(4), Replied::Nothing));
        assert!(orders.overdue(now, patience).is_none());
        let late = orders.overdue(now + patience, patience).expect("it waits");
        assert_eq!(late.serial, 1);
        assert!(matches!(orders.replied(1), Replied::Late));
        assert_eq!(serials(orders.replied(3)), [2, 3], "who was passed over is told so");
        assert!(matches!(orders.replied(2), Replied::Late));
        assert!(orders.overdue(now + patience, patience).is_none());
    }
}
