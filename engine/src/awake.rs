//! Sessions that were woken and have not come back: each holds a worker.
//!
//! Counted so that wakes never take the workers that logins need. A session is forgotten when it
//! hibernates again and when its worker's process ends; where that is not told (a worker that
//! serves others afterwards, a kernel without SO_PASSPIDFD) after an age limit, oldest first.
//! Each is noted down beside the records, so an heir counts on. The pidfds have gone with the dead:
//! of those who were awake before it, it hears when they hibernate, or they age.

use std::collections::HashMap;

use torpor_handoff::message::Exited;

use crate::record::NIL;
use crate::slots::{BLANK, Slots};

/// Session hashes in order of waking. Bounded: the caller adds only while below its limit.
pub struct Awake {
    nodes: slab::Slab<Node>,
    by_session: HashMap<u64, u32>,
    oldest: u32,
    newest: u32,
}

struct Node {
    /// The wake that its worker took, and will be told of with its end.
    wake: Exited,
    since_ms: u64,
    older: u32,
    newer: u32,
}

impl Awake {
    /// Room for `max` sessions; nothing is allocated afterwards.
    pub fn new(max: usize) -> Self {
        let nodes = slab::Slab::with_capacity(max);
        // Twice the room: a table half empty rehashes in place and never grows.
        let by_session = HashMap::with_capacity(2 * max);
        Self { nodes, by_session, oldest: NONE, newest: NONE }
    }

    /// Room for `max` sessions, and those in it that an engine before us has noted down.
    pub fn revive(max: usize, notes: &mut Slots, now_ms: u64) -> Self {
        let mut awake = Self::new(max);
        let mut noted = notes.take_awake();
        noted.sort_unstable_by_key(|[_, since_ms]| *since_ms);
        for [session, since_ms] in noted {
            let wake = Exited { slot: NIL, generation: 0, session };
            awake.add(wake, since_ms.min(now_ms), notes);
        }
        awake
    }

    /// A worker took the session. One that is counted already starts anew; at the bound the
    /// oldest is forgotten.
    pub fn add(&mut self, wake: Exited, now_ms: u64, notes: &mut Slots) {
        self.remove(wake.session, notes);
        if self.nodes.len() == self.nodes.capacity() {
            self.forget(self.oldest, notes);
        }
        let node = Node { wake, since_ms: now_ms, older: self.newest, newer: NONE };
        let index = self.nodes.insert(node) as u32;
        match self.newest {
            NONE => self.oldest = index,
            newest => self.nodes[newest as usize].newer = index,
        }
        self.newest = index;
        self.by_session.insert(wake.session, index);
        notes.note_awake(index, [wake.session, now_ms]);
    }

    /// The session is back, or gone.
    pub fn remove(&mut self, session: u64, notes: &mut Slots) {
        if let Some(index) = self.by_session.get(&session).copied() {
            self.forget(index, notes);
        }
    }

    /// The worker that took this wake has ended.
    pub fn exited(&mut self, wake: &Exited, notes: &mut Slots) {
        if let Some(index) = self.by_session.get(&wake.session).copied()
            && self.nodes[index as usize].wake == *wake
        {
            self.forget(index, notes);
        }
    }

    /// Forgets sessions that woke before `before_ms`.
    pub fn expire(&mut self, before_ms: u64, notes: &mut Slots) {
        while self.oldest != NONE && self.nodes[self.oldest as usize].since_ms < before_ms {
            self.forget(self.oldest, notes);
        }
    }

    /// When the oldest woke, milliseconds.
    pub fn oldest_ms(&self) -> Option<u64> {
        (self.oldest != NONE).then(|| self.nodes[self.oldest as usize].since_ms)
    }

    pub fn count(&self) -> u32 {
        self.nodes.len() as u32
    }

    fn forget(&mut self, index: u32, notes: &mut Slots) {
        notes.note_awake(index, BLANK);
        let node = self.nodes.remove(index as usize);
        let known = self.by_session.remove(&node.wake.session);
        assert_eq!(known, Some(index), "each session is counted once");
        match node.older {
            NONE => self.oldest = node.newer,
            older => self.nodes[older as usize].newer = node.newer,
        }
        match node.newer {
            NONE => self.newest = node.older,
            newer => self.nodes[newer as usize].older = node.older,
        }
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn wake(session: u64, generation: u32) -> Exited {
        Exited { slot: 0, generation, session }
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_each_counts_once() {
        let (mut awake, mut notes) = (Awake::new(3), Slots::for_test(3));
        for (session, at) in [(1, 10), (2, 20), (1, 30), (3, 40)] {
            awake.add(wake(session, 1), at, &mut notes);
        }
        assert_eq!((awake.count(), awake.oldest_ms()), (3, Some(20)));
        awake.add(wake(4, 1), 50, &mut notes);
        assert_eq!((awake.count(), awake.oldest_ms()), (3, Some(30)));
        awake.remove(3, &mut notes);
        awake.remove(3, &mut notes);
        awake.expire(50, &mut notes);
        assert_eq!((awake.count(), awake.oldest_ms()), (1, Some(50)));
        awake.expire(51, &mut notes);
        assert_eq!((awake.count(), awake.oldest_ms()), (0, None));
        awake.add(wake(9, 1), 60, &mut notes);
        assert_eq!(awake.oldest_ms(), Some(60));
    }

    #[test]
    fn an_end_counts_for_the_wake_it_belongs_to() {
        let (mut awake, mut notes) = (Awake::new(3), Slots::for_test(3));
        awake.add(wake(1, 1), 10, &mut notes);
        awake.add(wake(2, 1), 10, &mut notes);
        awake.exited(&wake(1, 1), &mut notes);
        awake.exited(&wake(1, 1), &mut notes);
        assert_eq!(awake.count(), 1);
        // Session 2 hibernated and woke again before the end of its first worker was told.
        awake.remove(2, &mut notes);
        awake.add(wake(2, 2), 20, &mut notes);
        awake.exited(&wake(2, 1), &mut notes);
        assert_eq!(awake.count(), 1);
        awake.exited(&wake(2, 2), &mut notes);
        assert_eq!(awake.count(), 0);
    }

    /// And goes on from there; a time to come, which only damage can be, is now.
    #[test]
    fn an_heir_knows_who_was_awake_and_since_when() {
        let (mut awake, mut notes) = (Awake::new(4), Slots::for_test(4));
        for (session, at) in [(1, 10), (2, 20), (3, 30), (4, 400)] {
            awake.add(wake(session, 1), at, &mut notes);
        }
        awake.remove(1, &mut notes);
        awake.add(wake(5, 1), 40, &mut notes);
        awake.remove(2, &mut notes);
        notes.commit();
        let (mut notes, ..) = Slots::revive(notes.into_map()).expect("ours");
        let mut heir = Awake::revive(4, &mut notes, 100);
        assert_eq!((heir.count(), heir.oldest_ms()), (3, Some(30)));
        heir.exited(&wake(3, 1), &mut notes);
        assert_eq!(heir.count(), 3, "whose end it is cannot be told");
        heir.remove(3, &mut notes);
        heir.expire(41, &mut notes);
        assert_eq!((heir.count(), heir.oldest_ms()), (1, Some(100)));
        heir.expire(101, &mut notes);
        assert_eq!(Awake::revive(4, &mut notes, 200).count(), 0, "nothing is left behind");
    }
}
