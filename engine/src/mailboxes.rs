//! Who sleeps on which mailbox: one entry a mailbox, however many sleep on it.
//!
//! A mailbox is the set of watches that its sleepers' adoptions brought (Maildir: new and cur). Its
//! sleepers are linked through their records. A change empties the list, at once or when it has
//! been quiet for a while (`mailboxes/stir.rs`): each is owed one wake, and the worker looks at the
//! mailbox anew.

mod stir;

pub use stir::{Changed, Debounce, Source};

use crate::near::Near;
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::slots::Slots;
use crate::watch::WATCHES_PER_NOTIFY_MAX;

use stir::{List, Words};

/// All mailboxes that somebody sleeps on.
pub struct Mailboxes {
    /// Those that were ever used, within what is reserved.
    nodes: Vec<Node>,
    nodes_max: usize,
    /// First unused node, linked through `first`.
    free: u32,
    by_watch: Near,
    count: usize,
    /// Mailboxes whose sleepers are owed a wake and still linked.
    changed: List,
    /// Mailboxes that have just changed and may do so again.
    stirred: List,
    /// Since when, by node. Zero pages until they are used.
    windows: Vec<Words>,
}

/// A mailbox, or two more watches of one: most have two.
#[derive(Clone, Copy)]
struct Node {
    /// -1: none.
    wds: [i32; WATCHES_PER_NODE],
    /// First sleeper; of further watches the mailbox that they belong to.
    first: u32,
    /// Node with further watches.
    more: u32,
    /// Next mailbox of its list, [`UNCHANGED`], or what else the node is.
    next: u32,
}

/// Watches, -1 where there is none.
pub type Wds = [i32; WATCHES_MAX];

impl Mailboxes {
    /// Room for `max` mailboxes of two watches; nothing is allocated afterwards.
    pub fn new(max: u32) -> Self {
        let nodes_max = max as usize;
        Self {
            nodes: Vec::with_capacity(nodes_max),
            nodes_max,
            free: NIL,
            by_watch: Near::new(WATCHES_PER_NODE * nodes_max),
            count: 0,
            changed: List::EMPTY,
            stirred: List::EMPTY,
            windows: vec![[0; 2]; nodes_max],
        }
    }

    /// `slot` sleeps on the mailbox with these watches. `false` when there is no room for it, or
    /// when the watches belong to several mailboxes: then nothing was taken.
    #[must_use]
    pub fn join(&mut self, slots: &mut Slots, slot: u32, wds: &[i32]) -> bool {
        assert_eq!(slots[slot].mailbox, NIL, "a client sleeps on one mailbox");
        assert!(!wds.is_empty() && wds.iter().all(|wd| *wd >= 0));
        let mut known = wds.iter().filter_map(|wd| self.owner(*wd));
        let owner = known.next();
        if known.any(|other| Some(other) != owner) || !self.has_room(owner, wds) {
            return false;
        }
        let mailbox = owner.unwrap_or_else(|| {
            self.count += 1;
            self.claim(NIL, UNCHANGED)
        });
        for wd in wds {
            if self.owner(*wd).is_none() {
                self.add_watch(mailbox, *wd);
            }
        }
        let entry = &mut self.nodes[mailbox as usize];
        let record = &mut slots[slot];
        (record.mailbox, record.mailbox_prev, record.mailbox_next) = (mailbox, NIL, entry.first);
        if entry.first != NIL {
            slots[entry.first].mailbox_prev = slot;
        }
        entry.first = slot;
        true
    }

    /// `slot` sleeps here no more. Returns the watches that nobody needs now.
    pub fn leave(&mut self, slots: &mut Slots, slot: u32) -> Wds {
        let record = &mut slots[slot];
        let (mailbox, prev, next) = (record.mailbox, record.mailbox_prev, record.mailbox_next);
        (record.mailbox, record.mailbox_prev, record.mailbox_next) = (NIL, NIL, NIL);
        assert_ne!(mailbox, NIL, "nobody leaves where he does not sleep");
        if next != NIL {
            slots[next].mailbox_prev = prev;
        }
        let entry = &mut self.nodes[mailbox as usize];
        match prev {
            NIL => entry.first = next,
            _ if planted(Bug::MailboxForgotten) => entry.first = next,
            prev => slots[prev].mailbox_next = next,
        }
        if entry.first != NIL || entry.next != UNCHANGED {
            return NO_WDS;
        }
        self.drop_mailbox(mailbox)
    }

    /// True exactly when somebody sleeps on this watch.
    pub fn knows(&self, wd: i32) -> bool {
        self.owner(wd).is_some()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// The mailbox with this watch.
    fn owner(&self, wd: i32) -> Option<u32> {
        let place = self.by_watch.find(wd, number_of(&self.nodes))?;
        let node = place / WATCHES_PER_NODE as u32;
        let Node { first, next, .. } = self.nodes[node as usize];
        Some(if next == FURTHER { first } else { node })
    }

    /// True when as many nodes are free as these watches may need, and the mailbox may have them.
    fn has_room(&self, mailbox: Option<u32>, wds: &[i32]) -> bool {
        let new = wds.iter().filter(|wd| self.owner(**wd).is_none()).count();
        let mut had = 0;
        let mut node = mailbox.unwrap_or(NIL);
        while node != NIL {
            let Node { wds, more, .. } = self.nodes[node as usize];
            had += wds.iter().filter(|wd| **wd >= 0).count();
            node = more;
        }
        let needed = (had + new).div_ceil(WATCHES_PER_NODE) - had.div_ceil(WATCHES_PER_NODE);
        let mut free = self.nodes_max - self.nodes.len();
        let mut unused = self.free;
        while free < needed && unused != NIL {
            unused = self.nodes[unused as usize].first;
            free += 1;
        }
        had + new <= WATCHES_MAX && needed <= free
    }

    fn claim(&mut self, first: u32, next: u32) -> u32 {
        let fresh = Node { wds: [-1; WATCHES_PER_NODE], first, more: NIL, next };
        let node = self.free;
        if node == NIL {
            assert!(self.nodes.len() < self.nodes_max, "room was looked for");
            self.nodes.push(fresh);
            return self.nodes.len() as u32 - 1;
        }
        assert_eq!(self.nodes[node as usize].next, FREE);
        self.free = core::mem::replace(&mut self.nodes[node as usize], fresh).first;
        node
    }

    fn add_watch(&mut self, mailbox: u32, wd: i32) {
        let mut node = mailbox;
        loop {
            let Node { wds, more, .. } = self.nodes[node as usize];
            if let Some(at) = wds.iter().position(|wd| *wd < 0) {
                self.nodes[node as usize].wds[at] = wd;
                let place = node * WATCHES_PER_NODE as u32 + at as u32;
                self.by_watch.insert(wd, place, number_of(&self.nodes));
                return;
            }
            if more == NIL {
                self.nodes[node as usize].more = self.claim(mailbox, FURTHER);
            }
            node = self.nodes[node as usize].more;
        }
    }

    fn drop_mailbox(&mut self, mailbox: u32) -> Wds {
        let (mut all, mut count, mut node) = (NO_WDS, 0, mailbox);
        assert_eq!(self.nodes[mailbox as usize].next, UNCHANGED);
        while node != NIL {
            let Node { wds, more, .. } = self.nodes[node as usize];
            for wd in wds.into_iter().filter(|wd| *wd >= 0) {
                let known = self.by_watch.remove(wd, number_of(&self.nodes));
                assert_eq!(known.map(|place| place / WATCHES_PER_NODE as u32), Some(node));
                all[count] = wd;
                count += 1;
            }
            let unused =
                Node { wds: [-1; WATCHES_PER_NODE], first: self.free, more: NIL, next: FREE };
            self.nodes[node as usize] = unused;
            self.free = node;
            node = more;
        }
        self.count -= 1;
        all
    }
}

/// The watch in a place of the table.
fn number_of(nodes: &[Node]) -> impl Fn(u32) -> i32 {
    move |place| {
        let place = place as usize;
        nodes[place / WATCHES_PER_NODE].wds[place % WATCHES_PER_NODE]
    }
}

/// Watches that one mailbox gathers at most: adoptions may name overlapping sets.
pub const WATCHES_MAX: usize = 2 * WATCHES_PER_NOTIFY_MAX;
/// No watches.
pub const NO_WDS: Wds = [-1; WATCHES_MAX];

const WATCHES_PER_NODE: usize = 2;
/// Nobody is owed a wake.
const UNCHANGED: u32 = NIL - 1;
/// Not a mailbox, but further watches of one.
const FURTHER: u32 = NIL - 2;
/// Neither.
const FREE: u32 = NIL - 3;

const _: () = assert!(size_of::<Node>() == 20, "a mailbox costs so many bytes, and its watches 16");

#[cfg(test)]
mod tests;
