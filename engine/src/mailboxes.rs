//! Who sleeps on which mailbox: one entry a mailbox, however many sleep on it.
//!
//! A mailbox is the set of watches that one adoption brought (Maildir: new and cur). Its sleepers
//! are linked through their records. A change empties the list: each is owed one wake, and the
//! worker looks at the mailbox anew.

use std::collections::HashMap;

use crate::near::BuildNear;
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::slots::Slots;
use crate::watch::WATCHES_PER_NOTIFY_MAX;

/// All mailboxes that somebody sleeps on.
pub struct Mailboxes {
    entries: slab::Slab<Mailbox>,
    by_watch: HashMap<i32, u32, BuildNear>,
    /// Entries whose sleepers are owed a wake and still linked, first and last.
    changed: u32,
    changed_last: u32,
}

struct Mailbox {
    first: u32,
    sleepers: u32,
    watches: [Watch; WATCHES_MAX],
    /// True exactly when it is in the list of changed ones; then the next of them.
    changed: bool,
    changed_next: u32,
}

/// A watch on the shared inotify instance and how many adoptions stand behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// -1: none.
    pub wd: i32,
    pub adoptions: u32,
}

impl Mailboxes {
    /// Room for `max` mailboxes; nothing is allocated afterwards.
    pub fn new(max: u32) -> Self {
        let entries = slab::Slab::with_capacity(max as usize);
        let by_watch = HashMap::with_capacity_and_hasher(
            2 * WATCHES_PER_NOTIFY_MAX * max as usize,
            BuildNear::default(),
        );
        Self { entries, by_watch, changed: NIL, changed_last: NIL }
    }

    /// `slot` sleeps on the mailbox with these watches. `false` when there is no room for it, or
    /// when the watches belong to several mailboxes: then nothing was taken.
    #[must_use]
    pub fn join(&mut self, slots: &mut Slots, slot: u32, wds: &[i32]) -> bool {
        assert_eq!(slots[slot].mailbox, NIL, "a client sleeps on one mailbox");
        let mut known = wds.iter().filter_map(|wd| self.by_watch.get(wd).copied());
        let mailbox = match known.next() {
            Some(mailbox) if known.all(|other| other == mailbox) => mailbox,
            Some(_) => return false,
            None if self.entries.len() < self.entries.capacity() => {
                let watches = [NO_WATCH; WATCHES_MAX];
                let entry =
                    Mailbox { first: NIL, sleepers: 0, watches, changed: false, changed_next: NIL };
                self.entries.insert(entry) as u32
            }
            None => return false,
        };
        let entry = &mut self.entries[mailbox as usize];
        if !entry.count(wds) {
            return false;
        }
        for wd in wds {
            self.by_watch.insert(*wd, mailbox);
        }
        let record = &mut slots[slot];
        (record.mailbox, record.mailbox_prev, record.mailbox_next) = (mailbox, NIL, entry.first);
        if entry.first != NIL {
            slots[entry.first].mailbox_prev = slot;
        }
        entry.first = slot;
        entry.sleepers += 1;
        true
    }

    /// `slot` sleeps here no more. Returns the watches that nobody needs now.
    pub fn leave(&mut self, slots: &mut Slots, slot: u32) -> [Watch; WATCHES_MAX] {
        let record = &mut slots[slot];
        let (mailbox, prev, next) = (record.mailbox, record.mailbox_prev, record.mailbox_next);
        (record.mailbox, record.mailbox_prev, record.mailbox_next) = (NIL, NIL, NIL);
        assert_ne!(mailbox, NIL, "nobody leaves where he does not sleep");
        if next != NIL {
            slots[next].mailbox_prev = prev;
        }
        let entry = &mut self.entries[mailbox as usize];
        match prev {
            NIL => entry.first = next,
            _ if planted(Bug::MailboxForgotten) => entry.first = next,
            prev => slots[prev].mailbox_next = next,
        }
        entry.sleepers -= 1;
        assert_eq!(entry.sleepers == 0, entry.first == NIL);
        if entry.sleepers > 0 || entry.changed {
            return [NO_WATCH; WATCHES_MAX];
        }
        self.drop_entry(mailbox)
    }

    /// Something happened under this watch. `false` when nobody sleeps on it.
    pub fn mark_changed(&mut self, wd: i32) -> bool {
        let Some(mailbox) = self.by_watch.get(&wd).copied() else { return false };
        self.mark(mailbox);
        true
    }

    /// Events were lost: every mailbox counts as changed.
    pub fn mark_all_changed(&mut self) {
        for mailbox in 0..self.entries.capacity() {
            if self.entries.contains(mailbox) {
                self.mark(mailbox as u32);
            }
        }
    }

    /// The next sleeper of a changed mailbox. The caller makes it leave. When a changed mailbox
    /// has no sleeper left, its watches come instead, to be released.
    pub fn next_changed(&mut self) -> Option<Changed> {
        let mailbox = self.changed;
        if mailbox == NIL {
            return None;
        }
        let entry = &mut self.entries[mailbox as usize];
        if entry.first != NIL {
            return Some(Changed::Sleeper(entry.first));
        }
        self.changed = entry.changed_next;
        if self.changed == NIL {
            self.changed_last = NIL;
        }
        Some(Changed::Empty(self.drop_entry(mailbox)))
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// True exactly when somebody is owed a wake and not queued yet.
    pub fn has_changed(&self) -> bool {
        self.changed != NIL
    }

    fn mark(&mut self, mailbox: u32) {
        let entry = &mut self.entries[mailbox as usize];
        if core::mem::replace(&mut entry.changed, true) {
            return;
        }
        entry.changed_next = NIL;
        match self.changed_last {
            NIL => self.changed = mailbox,
            last => self.entries[last as usize].changed_next = mailbox,
        }
        self.changed_last = mailbox;
    }

    fn drop_entry(&mut self, mailbox: u32) -> [Watch; WATCHES_MAX] {
        let entry = self.entries.remove(mailbox as usize);
        assert_eq!(entry.sleepers, 0);
        for watch in entry.watches.iter().filter(|watch| watch.wd != NO_WATCH.wd) {
            let known = self.by_watch.remove(&watch.wd);
            assert_eq!(known, Some(mailbox), "a watch belongs to one mailbox");
        }
        entry.watches
    }
}

impl Mailbox {
    /// Counts one adoption for each watch; `false`, and nothing counted, when they do not fit.
    fn count(&mut self, wds: &[i32]) -> bool {
        let mut watches = self.watches;
        for wd in wds {
            let place = watches.iter_mut().find(|watch| watch.wd == *wd || watch.wd == -1);
            let Some(watch) = place else { return false };
            *watch = Watch { wd: *wd, adoptions: watch.adoptions + 1 };
        }
        self.watches = watches;
        true
    }
}

/// What is to be done about a changed mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Wake this one.
    Sleeper(u32),
    /// Release these.
    Empty([Watch; WATCHES_MAX]),
}

/// Watches that one mailbox gathers at most: adoptions may name overlapping sets.
pub const WATCHES_MAX: usize = 2 * WATCHES_PER_NOTIFY_MAX;
/// No watch.
pub const NO_WATCH: Watch = Watch { wd: -1, adoptions: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    fn sleepers(count: u32) -> (Slots, Vec<u32>) {
        let mut slots = Slots::new(count);
        let all = (0..count).map(|_| slots.claim().expect("free")).collect();
        (slots, all)
    }

    #[test]
    fn one_entry_for_all_who_sleep_on_a_mailbox() {
        let (mut slots, all) = sleepers(3);
        let mut mailboxes = Mailboxes::new(4);
        for slot in &all {
            assert!(mailboxes.join(&mut slots, *slot, &[1, 2]));
        }
        assert_eq!(mailboxes.count(), 1);
        assert_eq!(mailboxes.leave(&mut slots, all[1]), [NO_WATCH; WATCHES_MAX]);
        assert_eq!(mailboxes.leave(&mut slots, all[0]), [NO_WATCH; WATCHES_MAX]);
        let released = mailboxes.leave(&mut slots, all[2]);
        assert_eq!(released[..2], [1, 2].map(|wd| Watch { wd, adoptions: 3 }));
        assert_eq!((mailboxes.count(), mailboxes.by_watch.len()), (0, 0));
    }

    #[test]
    fn a_change_wakes_each_sleeper_once_and_then_releases() {
        let (mut slots, all) = sleepers(2);
        let mut mailboxes = Mailboxes::new(4);
        for slot in &all {
            assert!(mailboxes.join(&mut slots, *slot, &[5]));
        }
        assert!(mailboxes.mark_changed(5) && mailboxes.mark_changed(5));
        assert!(!mailboxes.mark_changed(6));
        let mut woken = Vec::new();
        loop {
            match mailboxes.next_changed() {
                Some(Changed::Sleeper(slot)) => {
                    woken.push(slot);
                    assert_eq!(mailboxes.leave(&mut slots, slot), [NO_WATCH; WATCHES_MAX]);
                }
                Some(Changed::Empty(watches)) => {
                    assert_eq!(watches[0], Watch { wd: 5, adoptions: 2 });
                }
                None => break,
            }
        }
        woken.sort_unstable();
        assert_eq!((woken, mailboxes.count()), (all, 0));
    }

    #[test]
    fn an_overflow_marks_everybody_and_watches_never_belong_to_two() {
        let (mut slots, all) = sleepers(4);
        let mut mailboxes = Mailboxes::new(2);
        assert!(mailboxes.join(&mut slots, all[0], &[1]));
        assert!(mailboxes.join(&mut slots, all[1], &[2]));
        assert!(!mailboxes.join(&mut slots, all[2], &[1, 2]), "of two mailboxes");
        assert!(!mailboxes.join(&mut slots, all[2], &[3]), "no room");
        assert!(mailboxes.join(&mut slots, all[2], &[1, 3]), "grows");
        mailboxes.mark_all_changed();
        let mut woken = 0;
        while let Some(changed) = mailboxes.next_changed() {
            if let Changed::Sleeper(slot) = changed {
                mailboxes.leave(&mut slots, slot);
                woken += 1;
            }
        }
        assert_eq!((woken, mailboxes.count()), (3, 0));
    }
}
