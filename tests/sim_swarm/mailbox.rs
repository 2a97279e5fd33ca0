//! Mailboxes that change, the notify descriptors of workers, and the shared inotify instance.

mod watcher;

use std::collections::VecDeque;

use torpor_engine::watch::WATCHES_PER_NOTIFY_MAX;

use crate::faults::Fault;
use crate::world::{World, place};

pub use watcher::SimWatcher;

#[derive(Default)]
pub struct Mailbox {
    /// Counts changes.
    pub version: u64,
    pub changed_us: u64,
    /// Watches of `new` and `cur` on the shared instance.
    watches: [Option<i32>; 2],
}

/// A notify descriptor: an inotify instance of one client's worker.
#[derive(Clone, Copy)]
pub struct Notify {
    pub live: bool,
    pub refs: u32,
    pub mailbox: usize,
    pub session: u32,
    /// True exactly when there are unread events.
    pub pending: bool,
    pub op: Option<u32>,
    pub pipe: bool,
    /// The mailbox's version when the watches were added.
    version: u64,
}

/// The shared inotify instance.
#[derive(Default)]
pub struct SharedWatch {
    pub queue: VecDeque<(i32, u32)>,
    last_wd: i32,
    next_ms: u64,
    /// An engine was killed, and what it or its watcher left here has not stirred since.
    is_orphaned: bool,
}

impl World {
    pub fn make_notify(&mut self, session: u32) -> u32 {
        let mailbox = self.sessions[session as usize].mailbox.expect("a mailbox is selected");
        let pipe = self.random.one_in(16);
        let version = self.boxes[mailbox].version;
        let fresh = Notify {
            live: true,
            refs: 1,
            mailbox,
            session,
            pending: false,
            op: None,
            pipe,
            version,
        };
        let index = place(&mut self.notifies, |notify| notify.live, || fresh);
        self.notifies[index] = fresh;
        index as u32
    }

    pub fn run_boxes(&mut self) {
        if self.calm || self.mono_ms < self.shared.next_ms {
            return;
        }
        self.shared.next_ms = self.mono_ms + self.random.ms(20, 2 * self.swarm.rest_ms);
        if self.fault(Fault::WatchOverflow, 4) {
            self.overflow();
            return;
        }
        let number = self.random.below(self.swarm.boxes) as usize;
        if self.fault(Fault::WatchIgnored, 10) {
            self.delete_box(number);
        } else {
            self.change(number);
        }
    }

    /// Mail is delivered.
    pub fn change(&mut self, number: usize) {
        let mailbox = &mut self.boxes[number];
        mailbox.version += 1;
        mailbox.changed_us = self.wall_us;
        let version = mailbox.version;
        self.tell(|| format!("mailbox {number} changes to {version}"));
        if let Some(wd) = self.boxes[number].watches[0] {
            self.shared.queue.push_back((wd, 0x100));
        }
        if let Some(wd) = self.boxes[number].watches[1]
            && self.random.one_in(2)
        {
            self.shared.queue.push_back((wd, 0x80));
        }
        self.kernel.stir_watch();
        for index in 0..self.notifies.len() {
            let notify = &mut self.notifies[index];
            if notify.live && notify.mailbox == number {
                notify.pending = true;
                let op = notify.op;
                self.kernel.stir(op);
            }
        }
    }

    /// More events than the instance keeps: some mailbox changes and only the overflow is told.
    fn overflow(&mut self) {
        let number = self.random.below(self.swarm.boxes) as usize;
        self.change(number);
        self.shared.queue.clear();
        self.shared.queue.push_back((-1, 0x4000));
        self.kernel.stir_watch();
        self.tell(|| "the shared instance overflows".to_string());
    }

    /// The watched directories are deleted.
    fn delete_box(&mut self, number: usize) {
        self.change(number);
        for which in 0..2 {
            if let Some(wd) = self.boxes[number].watches[which].take() {
                self.shared.queue.extend([(wd, 0x400), (wd, 0x8000)]);
            }
        }
        self.kernel.stir_watch();
    }

    /// Adds the watches of an adoption.
    fn adopt_watches(&mut self, number: usize) -> [i32; WATCHES_PER_NOTIFY_MAX] {
        let mut wds = [-1; WATCHES_PER_NOTIFY_MAX];
        // An index file has one watch, a Maildir two.
        let count = if number.is_multiple_of(3) { 1 } else { 2 };
        let watches = self.boxes[number].watches.iter_mut().take(count);
        for (watch, place) in watches.zip(&mut wds) {
            *place = *watch.get_or_insert_with(|| {
                self.shared.last_wd += 1;
                self.shared.last_wd
            });
        }
        wds
    }

    fn release_watch(&mut self, wd: i32) {
        let mut watches = self.boxes.iter_mut().flat_map(|mailbox| &mut mailbox.watches);
        if let Some(watch) = watches.find(|watch| **watch == Some(wd)) {
            *watch = None;
            self.shared.queue.push_back((wd, 0x8000));
            self.kernel.stir_watch();
        }
    }

    /// Something happens under every watch, at a time when nobody sleeps.
    pub fn stir_strays(&mut self) {
        let watches = self.boxes.iter().flat_map(|mailbox| mailbox.watches).flatten();
        self.shared.queue.extend(watches.map(|wd| (wd, 0x100)));
        self.shared.is_orphaned = false;
        self.kernel.stir_watch();
    }

    /// An engine has died: nobody knows what it was about to let go of.
    pub fn orphan_watches(&mut self) {
        self.shared.is_orphaned = true;
    }

    /// True when there may be watches that nobody has heard of.
    pub fn has_strays(&self) -> bool {
        self.shared.is_orphaned && self.watches() > 0
    }

    /// Watches that somebody still holds.
    pub fn watches(&self) -> usize {
        self.boxes.iter().flat_map(|mailbox| mailbox.watches).flatten().count()
    }

    /// The shared instance has died with all who held it; the next one counts from 1 again.
    pub fn forget_watches(&mut self) {
        self.shared.queue.clear();
        self.shared.last_wd = 0;
        self.boxes.iter_mut().for_each(|mailbox| mailbox.watches = [None; 2]);
    }

    /// The last look of an adoption at the old descriptor and at the directories' times. What it
    /// cannot see is not owed.
    fn last_look(&mut self, notify: u32, since_us: u64) -> bool {
        let Notify { mailbox, session, pending, version, .. } = self.notifies[notify as usize];
        let entry = &self.boxes[mailbox];
        let late = entry.version > 0 && entry.changed_us >= since_us;
        if pending || late {
            return true;
        }
        self.check_unseen(session, version);
        let seen = &mut self.sessions[session as usize].seen;
        *seen = (*seen).max(version);
        false
    }
}
