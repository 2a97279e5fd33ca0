//! The mailboxes of an engine that was killed, taken up by its heir.
//!
//! Watches have outlived the engine, so whoever sleeps on a mailbox that is as it was sleeps on.
//! What an heir cannot answer for counts as changed: mailboxes whose sleepers were owed a wake or
//! soon would be, those that nobody has looked at or read of since, and what was damaged.

use super::nodes::{Node, Nodes};
use super::{FREE, FURTHER, Mailboxes, UNCHANGED, WATCHES_MAX, WATCHES_PER_NODE, number_of};
use crate::image::Foreign;
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::slots::Slots;
use crate::sys::map::Map;
use crate::watch::is_marked;

impl Mailboxes {
    /// Those that the engine of this `owner` number had when it was killed after it had committed
    /// this transaction; what it did not leave or does not suit is forgotten. Until
    /// [`Mailboxes::settle`] nobody is known to sleep there.
    ///
    /// # Errors
    /// The memory is none of ours.
    pub fn revive(max: u32, map: Map, committed: u64, owner: u32) -> Result<Self, Foreign> {
        let mut all = Self::over(Nodes::revive(max, map, committed, owner)?);
        let end = all.nodes.end();
        for node in 0..end {
            if !all.nodes.is_sound(node) {
                all.nodes.forget(node, NIL);
            }
        }
        let mut taken = vec![false; end as usize];
        for mailbox in 0..end {
            if all.is_mailbox(mailbox) {
                all.heal(mailbox, &mut taken);
            }
        }
        for node in (0..end).rev().filter(|node| !taken[*node as usize]) {
            let Node { first, next, .. } = all.nodes[node];
            if (first, next) == (all.free, FREE) {
                all.free = node;
            } else {
                all.put_free(node);
            }
        }
        all.firsts = vec![NIL; end as usize];
        Ok(all)
    }

    /// `slot` goes on sleeping where its record says; `false` when nothing is known of that place.
    #[must_use]
    pub fn rejoin(&mut self, slots: &mut Slots, slot: u32) -> bool {
        let record = &mut slots[slot];
        let mailbox = record.mailbox;
        assert_ne!(mailbox, NIL, "it sleeps on none");
        if mailbox >= self.nodes.end() || !self.is_mailbox(mailbox) {
            (record.mailbox, record.mailbox_prev, record.mailbox_next) = (NIL, NIL, NIL);
            return false;
        }
        let first = core::mem::replace(&mut self.firsts[mailbox as usize], slot);
        (record.mailbox_prev, record.mailbox_next) = (NIL, first);
        if first != NIL {
            slots[first].mailbox_prev = slot;
        }
        true
    }

    /// All have rejoined: where nobody sleeps, watches are let go.
    pub fn settle(&mut self) {
        let firsts = core::mem::take(&mut self.firsts);
        for (mailbox, first) in (0..).zip(firsts) {
            if !self.is_mailbox(mailbox) {
                continue;
            }
            // Most are as they were, and what is not written costs no line of the journal.
            if self.nodes[mailbox].first != first {
                self.nodes[mailbox].first = first;
            }
            if first == NIL {
                self.mark(mailbox);
            }
        }
    }

    fn is_mailbox(&self, node: u32) -> bool {
        !matches!(self.nodes[node].next, FREE | FURTHER)
    }

    /// Takes in what of a mailbox makes sense, whoever has written it. Counts it as changed unless
    /// nothing was missed.
    fn heal(&mut self, mailbox: u32, taken: &mut [bool]) {
        let mut is_whole = self.nodes[mailbox].next == UNCHANGED;
        if planted(Bug::ChangedForgotten) {
            is_whole = true;
        }
        let (mut node, mut count) = (mailbox, 0);
        loop {
            taken[node as usize] = true;
            count += 1;
            is_whole &= self.take_watches(node);
            let more = self.nodes[node].more;
            if more == NIL {
                break;
            }
            if count == NODES_MAX || !self.is_further(more, mailbox, taken) {
                self.nodes[node].more = NIL;
                is_whole = false;
                break;
            }
            node = more;
        }
        self.count += 1;
        if self.nodes[mailbox].next != UNCHANGED {
            self.nodes[mailbox].next = UNCHANGED;
        }
        if !is_whole {
            self.mark(mailbox);
        }
    }

    fn is_further(&self, node: u32, mailbox: u32, taken: &[bool]) -> bool {
        let is_free = taken.get(node as usize).is_some_and(|taken| !taken);
        is_free && (self.nodes[node].next, self.nodes[node].first) == (FURTHER, mailbox)
    }

    /// `false` when something may have happened under one of them that nobody has heard.
    fn take_watches(&mut self, node: u32) -> bool {
        let mut is_whole = true;
        for (at, wd) in (0..).zip(self.nodes[node].wds) {
            let is_odd = wd < -1 || self.knows(wd);
            if is_odd {
                self.nodes[node].wds[at as usize] = -1;
            } else if wd >= 0 {
                let place = node * WATCHES_PER_NODE as u32 + at;
                self.by_watch.insert(wd, place, number_of(&self.nodes));
            }
            // The marks have died with the engine that read them.
            is_whole &= !is_odd && !is_marked(wd);
        }
        is_whole
    }
}

const NODES_MAX: usize = WATCHES_MAX / WATCHES_PER_NODE;

#[cfg(test)]
mod tests;
