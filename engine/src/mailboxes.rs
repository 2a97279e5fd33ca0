//! Who sleeps on which mailbox: one entry a mailbox, however many sleep on it.
//!
//! A mailbox is the set of watches that its sleepers' adoptions brought (Maildir: new and cur). Its
//! sleepers are linked through their records. A change empties the list, at once or when it has
//! been quiet for a while (`mailboxes/stir.rs`): each is owed one wake, and the worker looks at the
//! mailbox anew.
//!
//! Mailboxes and their watches lie in memory that outlives the engine (`mailboxes/nodes.rs`), as
//! the watches themselves do, so an heir wakes nobody (`mailboxes/revive.rs`).

mod nodes;
mod revive;
mod stir;

pub use nodes::Nodes;
pub use stir::{Changed, Debounce, Source};

use crate::near::Near;
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::slots::Slots;
use crate::sys::map::Map;
use crate::watch::WATCHES_PER_NOTIFY_MAX;

use nodes::Node;
use stir::{List, Words};

/// All mailboxes that somebody sleeps on.
pub struct Mailboxes {
    nodes: Nodes,
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
    /// First sleepers, by node, as far as an heir has heard of them; empty once it has of all.
    firsts: Vec<u32>,
}

/// Watches, -1 where there is none.
pub type Wds = [i32; WATCHES_MAX];

impl Mailboxes {
    /// Room for `max` mailboxes of two watches, in new memory; nothing is allocated afterwards.
    pub fn new(max: u32, map: Map) -> Self {
        Self::over(Nodes::new(max, map))
    }

    fn over(nodes: Nodes) -> Self {
        let max = nodes.max() as usize;
        Self {
            nodes,
            free: NIL,
            by_watch: Near::new(WATCHES_PER_NODE * max),
            count: 0,
            changed: List::EMPTY,
            stirred: List::EMPTY,
            windows: vec![[0; 2]; max],
            firsts: Vec::new(),
        }
    }

    /// `slot` sleeps on the mailbox with these watches, of which no kernel tells if it is `polled`.
    /// `false` when there is no room for it, or when the watches belong to several mailboxes: then
    /// nothing was taken.
    #[must_use]
    pub fn join(&mut self, slots: &mut Slots, slot: u32, wds: &[i32], polled: bool) -> bool {
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
        if polled && self.nodes[mailbox].next == UNCHANGED {
            self.nodes[mailbox].next = POLLED;
        }
        self.lay(slots, slot, mailbox);
        true
    }

    /// First among those who sleep there.
    fn lay(&mut self, slots: &mut Slots, slot: u32, mailbox: u32) {
        let first = core::mem::replace(&mut self.nodes[mailbox].first, slot);
        let record = &mut slots[slot];
        (record.mailbox, record.mailbox_prev, record.mailbox_next) = (mailbox, NIL, first);
        if first != NIL {
            slots[first].mailbox_prev = slot;
        }
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
        match prev {
            NIL => self.nodes[mailbox].first = next,
            _ if planted(Bug::MailboxForgotten) => self.nodes[mailbox].first = next,
            prev => slots[prev].mailbox_next = next,
        }
        let Node { first, next, .. } = self.nodes[mailbox];
        if first != NIL || !is_quiet(next) {
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
        let Node { first, next, .. } = self.nodes[node];
        Some(if next == FURTHER { first } else { node })
    }

    /// True when as many nodes are free as these watches may need, and the mailbox may have them.
    fn has_room(&self, mailbox: Option<u32>, wds: &[i32]) -> bool {
        let new = wds.iter().filter(|wd| self.owner(**wd).is_none()).count();
        let mut had = 0;
        let mut node = mailbox.unwrap_or(NIL);
        while node != NIL {
            let Node { wds, more, .. } = self.nodes[node];
            had += wds.iter().filter(|wd| **wd >= 0).count();
            node = more;
        }
        let needed = (had + new).div_ceil(WATCHES_PER_NODE) - had.div_ceil(WATCHES_PER_NODE);
        let mut free = (self.nodes.max() - self.nodes.end()) as usize;
        let mut unused = self.free;
        while free < needed && unused != NIL {
            unused = self.nodes[unused].first;
            free += 1;
        }
        had + new <= WATCHES_MAX && needed <= free
    }

    fn claim(&mut self, first: u32, next: u32) -> u32 {
        let node = self.free;
        if node == NIL {
            return self.nodes.push(Node::new(first, next));
        }
        assert_eq!(self.nodes[node].next, FREE);
        self.free = core::mem::replace(&mut self.nodes[node], Node::new(first, next)).first;
        node
    }

    fn add_watch(&mut self, mailbox: u32, wd: i32) {
        let mut node = mailbox;
        loop {
            let Node { wds, more, .. } = self.nodes[node];
            if let Some(at) = wds.iter().position(|wd| *wd < 0) {
                self.nodes[node].wds[at] = wd;
                let place = node * WATCHES_PER_NODE as u32 + at as u32;
                self.by_watch.insert(wd, place, number_of(&self.nodes));
                return;
            }
            if more == NIL {
                self.nodes[node].more = self.claim(mailbox, FURTHER);
            }
            node = self.nodes[node].more;
        }
    }

    fn drop_mailbox(&mut self, mailbox: u32) -> Wds {
        let (mut all, mut count, mut node) = (NO_WDS, 0, mailbox);
        assert!(is_quiet(self.nodes[mailbox].next));
        while node != NIL {
            let Node { wds, more, .. } = self.nodes[node];
            for wd in wds.into_iter().filter(|wd| *wd >= 0) {
                let known = self.by_watch.remove(wd, number_of(&self.nodes));
                assert_eq!(known.map(|place| place / WATCHES_PER_NODE as u32), Some(node));
                all[count] = wd;
                count += 1;
            }
            self.put_free(node);
            node = more;
        }
        self.count -= 1;
        all
    }

    fn put_free(&mut self, node: u32) {
        self.nodes.forget(node, self.free);
        self.free = node;
    }

    /// Before a commit, see [`Nodes::seal`].
    pub fn seal(&mut self) {
        self.nodes.seal();
    }

    /// See [`Nodes::set_owner`].
    pub fn set_owner(&mut self, owner: u32) {
        self.nodes.set_owner(owner);
    }

    /// Begins a transaction.
    pub fn begin(&mut self, epoch: u64) {
        self.nodes.begin(epoch);
    }

    /// What they lie in, for an heir.
    pub fn into_map(self) -> Map {
        self.nodes.into_map()
    }
}

/// True exactly when a node with this `next` is a mailbox of which nobody is owed a wake.
fn is_quiet(next: u32) -> bool {
    next == UNCHANGED || next == POLLED
}

/// The watch in a place of the table.
fn number_of(nodes: &Nodes) -> impl Fn(u32) -> i32 {
    move |place| nodes[place / WATCHES_PER_NODE as u32].wds[place as usize % WATCHES_PER_NODE]
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
/// Nobody is owed a wake, and what happens here the watcher looks for.
const POLLED: u32 = NIL - 4;

#[cfg(test)]
mod tests;
