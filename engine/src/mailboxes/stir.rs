//! From a change to a wake: at once, or when the mailbox has been quiet for a while.
//!
//! A change opens a window. When it ends, the mailbox's sleepers are owed a wake, unless more came
//! meanwhile: then another window follows, as often as the longest delay allows. All windows are of
//! one length, so whichever was opened first ends first, and a list will do.

use super::nodes::{Node, Nodes};
use super::{FREE, FURTHER, Mailboxes, UNCHANGED, Wds, is_quiet};
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::watch::is_marked;

impl Mailboxes {
    /// Something happened under this watch: a wake is owed at the end of a window, or at once
    /// where there are none. `false` when nobody sleeps on it.
    pub fn stir(&mut self, wd: i32, now_ms: u64, debounce: Debounce) -> bool {
        let Some(mailbox) = self.owner(wd) else { return false };
        match self.nodes[mailbox].next {
            next if is_quiet(next) && debounce.window_ms == 0 => self.mark(mailbox),
            next if is_quiet(next) => {
                self.windows[mailbox as usize] = Window::opened(now_ms, 0).words();
                self.stirred.push(&mut self.nodes, mailbox);
            }
            // Of a mailbox whose wake is owed already, nobody asks for its window.
            _ => {
                let window = &mut self.windows[mailbox as usize];
                *window = Window { again: true, ..Window::of(*window) }.words();
            }
        }
        true
    }

    /// Windows that have ended by now: their mailboxes have changed, or get another.
    pub fn ripen(&mut self, now_ms: u64, debounce: Debounce) {
        while self.next_ripe_ms(now_ms, debounce).is_some_and(|ripe_ms| ripe_ms <= now_ms) {
            let mailbox = self.stirred.pop(&mut self.nodes);
            let Window { before, again, .. } = Window::of(self.windows[mailbox as usize]);
            if again && before + 1 < debounce.windows_max() {
                self.windows[mailbox as usize] = Window::opened(now_ms, before + 1).words();
                self.stirred.push(&mut self.nodes, mailbox);
            } else if !planted(Bug::WindowForgotten) {
                self.mark(mailbox);
            }
        }
    }

    /// When the next window ends.
    pub fn next_ripe_ms(&self, now_ms: u64, debounce: Debounce) -> Option<u64> {
        let first = Window::of(*self.windows.get(self.stirred.first as usize)?);
        Some((now_ms + debounce.window_ms).saturating_sub(first.age_ms(now_ms)))
    }

    /// Events of this source were lost: every mailbox that it watches counts as changed.
    pub fn mark_all_changed(&mut self, source: Source) {
        for node in 0..self.nodes.end() {
            let Node { wds, first, next, .. } = self.nodes[node];
            let is_its = |wd: i32| wd >= 0 && is_marked(wd) == (source == Source::Marks);
            match next {
                _ if !wds.into_iter().any(is_its) => {}
                FREE => unreachable!("a free node has watches"),
                FURTHER => self.mark(first),
                _ => self.mark(node),
            }
        }
    }

    /// The next sleeper of a changed mailbox. The caller makes it leave. When a changed mailbox
    /// has no sleeper left, its watches come instead, to be released.
    pub fn next_changed(&mut self) -> Option<Changed> {
        let mailbox = self.changed.first;
        if mailbox == NIL {
            return None;
        }
        let first = self.nodes[mailbox].first;
        if first != NIL {
            return Some(Changed::Sleeper(first));
        }
        let popped = self.changed.pop(&mut self.nodes);
        assert_eq!(popped, mailbox);
        Some(Changed::Empty(self.drop_mailbox(mailbox)))
    }

    /// True exactly when somebody is owed a wake and not queued yet.
    pub fn has_changed(&self) -> bool {
        self.changed.first != NIL
    }

    /// Its sleepers are owed a wake, unless they are already, or will be.
    pub(super) fn mark(&mut self, mailbox: u32) {
        if is_quiet(self.nodes[mailbox].next) {
            self.changed.push(&mut self.nodes, mailbox);
        }
    }
}

/// How long changes of a mailbox are gathered before its sleepers wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// Wakes wait for so long without a change; 0: not at all.
    pub window_ms: u64,
    /// And never longer than this, in whole windows but at least one.
    pub delay_ms_max: u64,
}

impl Debounce {
    /// Every change counts at once.
    pub const NONE: Self = Self { window_ms: 0, delay_ms_max: 0 };

    fn windows_max(self) -> u16 {
        let windows = self.delay_ms_max / self.window_ms.max(1);
        u16::try_from(windows).unwrap_or(u16::MAX).max(1)
    }
}

/// Who tells of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The shared inotify instance.
    Inotify,
    /// The fanotify instance with its marks on whole filesystems.
    Marks,
}

/// What is to be done about a changed mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Wake this one.
    Sleeper(u32),
    /// Release these.
    Empty(Wds),
}

/// Mailboxes linked through `next`.
#[derive(Clone, Copy)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NIL, last: NIL };

    fn push(&mut self, nodes: &mut Nodes, mailbox: u32) {
        assert!(is_quiet(nodes[mailbox].next), "in one list at most");
        nodes[mailbox].next = NIL;
        match self.last {
            NIL => self.first = mailbox,
            last => nodes[last].next = mailbox,
        }
        self.last = mailbox;
    }

    /// Takes the first one out.
    fn pop(&mut self, nodes: &mut Nodes) -> u32 {
        let mailbox = self.first;
        assert_ne!(mailbox, NIL, "nobody is in it");
        self.first = core::mem::replace(&mut nodes[mailbox].next, UNCHANGED);
        if self.first == NIL {
            self.last = NIL;
        }
        mailbox
    }
}

/// The window of a mailbox that has stirred.
#[derive(Clone, Copy)]
struct Window {
    /// Lowest 32 bits of the time, in milliseconds: no window is open for 49 days.
    opened_ms: u32,
    /// Windows before it, without a wake between.
    before: u16,
    /// It changed once more since.
    again: bool,
}

impl Window {
    fn opened(now_ms: u64, before: u16) -> Self {
        Self { opened_ms: now_ms as u32, before, again: false }
    }

    fn age_ms(&self, now_ms: u64) -> u64 {
        u64::from((now_ms as u32).wrapping_sub(self.opened_ms))
    }

    fn words(self) -> Words {
        [self.opened_ms, u32::from(self.before) << 1 | u32::from(self.again)]
    }

    fn of([opened_ms, rest]: Words) -> Self {
        Self { opened_ms, before: (rest >> 1) as u16, again: rest & 1 == 1 }
    }
}

/// A window as it is kept: the allocator has zero pages for an array of numbers.
pub(super) type Words = [u32; 2];
