//! What happens to mailboxes, and who is owed a wake for it.

use inotify::EventMask;
use torpor_handoff::queue::Class;

use super::Core;
use super::accept::Accept;
use crate::action::{Action, Actions};
use crate::limits::WAKES_PER_STEP;
use crate::mailboxes::{Changed, Debounce, Source, WATCHES_MAX};
use crate::marks;
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::ring::{Completion, Op};
use crate::state::{Event, State};
use crate::token::{Kind, Token};
use crate::watch::{self, INOTIFY, MARKS, MARKS_LOST, WatchEvent, WatchOrder, is_marked};

/// When something was last told of each number, whether or not anybody sleeps on it: an event may
/// reach us before the watcher's reply says whom it is for.
///
/// Numbers share cells, because a fanotify mark tells of everybody's mail. An event of another
/// number in the same cell and the same moment costs a needless wake.
pub(super) struct Orphans {
    heard_ms: Box<[u32; CELLS]>,
    /// When events were lost.
    lost_ms: Option<u64>,
}

impl Orphans {
    pub(super) fn new() -> Self {
        Self { heard_ms: Box::new([0; CELLS]), lost_ms: None }
    }

    fn remember(&mut self, wd: i32, now_ms: u64) {
        assert!(wd >= 0, "an overflow is nobody's");
        assert!(self.lost_ms.is_none_or(|lost_ms| lost_ms <= now_ms));
        if !planted(Bug::OrphanDropped) {
            self.heard_ms[wd as usize % CELLS] = now_ms as u32;
        }
    }

    fn remember_all(&mut self, now_ms: u64) {
        assert!(self.lost_ms.is_none_or(|lost_ms| lost_ms <= now_ms));
        self.lost_ms = Some(now_ms);
        assert!(self.know(&[], now_ms, now_ms));
    }

    /// True when something was told of these since then.
    fn know(&self, wds: &[i32], since_ms: u64, now_ms: u64) -> bool {
        assert!(wds.iter().all(|wd| *wd >= 0));
        assert!(since_ms <= now_ms);
        let within =
            |heard_ms: u32| u64::from((now_ms as u32).wrapping_sub(heard_ms)) <= now_ms - since_ms;
        self.lost_ms.is_some_and(|lost_ms| lost_ms >= since_ms)
            || wds.iter().any(|wd| within(self.heard_ms[*wd as usize % CELLS]))
    }
}

impl Core {
    /// The shared inotify instance or the marks have spoken.
    pub(super) fn watched(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        assert!(done.passed.iter().all(Option::is_none));
        let bytes = done.bytes.of(bytes);
        let source = match done.token.index() {
            INOTIFY => Source::Inotify,
            MARKS => Source::Marks,
            index => panic!("there is no watch {index}"),
        };
        if done.result < 0 && done.result != -libc::ENOBUFS {
            // Whatever went wrong, events may be missing.
            assert!(bytes.is_empty());
            self.trouble(-done.result, out);
            self.all_changed(source);
        }
        match source {
            Source::Inotify => watch::events(bytes).for_each(|event| self.watch_event(event, out)),
            Source::Marks => marks::events(bytes).for_each(|event| self.watch_event(event, out)),
        }
        if !done.more && !planted(Bug::WatchReadForgotten) {
            out.ring(Op::ReadWatch { token: done.token });
        }
    }

    /// There are marks to read of, too.
    pub fn hear_marks(&mut self, out: &mut Actions) {
        assert!(self.reviving.is_none());
        assert_ne!(self.accept, Accept::Off, "after the start");
        out.ring(Op::ReadWatch { token: Token::new(Kind::Watch, 0, MARKS) });
    }

    /// One event, of whichever source.
    pub(super) fn watch_event(&mut self, event: WatchEvent, out: &mut Actions) {
        assert!(self.mailboxes.count() <= self.limits.mailboxes_max as usize);
        assert!(event.wd >= 0 || event.is_overflow());
        self.counters.watch_events += 1;
        if event.is_overflow() && planted(Bug::OverflowIgnored) {
            return;
        }
        if event.is_overflow() {
            self.counters.watch_overflows += 1;
            let is_marks = event.wd == MARKS_LOST;
            self.all_changed(if is_marks { Source::Marks } else { Source::Inotify });
        } else {
            // A known watch may be one that somebody is just adopting as well: remember it for him.
            let is_known = self.mailboxes.stir(event.wd, self.now.mono_ms, self.debounce());
            self.orphans.remember(event.wd, self.now.mono_ms);
            if !is_known {
                self.let_go_of_stray(event, out);
            }
        }
    }

    /// What an engine before us was about to let go of, or had its watcher adopt for whom we do not
    /// know, is let go when it is first heard of. It may be what our own watcher is just adopting:
    /// he has changed then, and hears that the watch has gone, as he would of any release.
    fn let_go_of_stray(&mut self, event: WatchEvent, out: &mut Actions) {
        assert!(event.wd >= 0);
        assert!(!self.mailboxes.knows(event.wd));
        let is_gone = event.mask & EventMask::IGNORED.bits() != 0;
        // What an heir orders before it takes over is never done.
        let is_one = !is_gone && !is_marked(event.wd) && self.reviving.is_none();
        let Some(last) = self.stray.filter(|_| is_one) else { return };
        // Of a burst of events the first will do.
        if last != event.wd && !planted(Bug::StrayKept) {
            self.stray = Some(event.wd);
            out.push(Action::Watch(WatchOrder::Release { wd: event.wd }));
        }
    }

    fn all_changed(&mut self, source: Source) {
        self.mailboxes.mark_all_changed(source);
        self.orphans.remember_all(self.now.mono_ms);
    }

    /// The mailbox of a client that is being hibernated is heard under these numbers. Changes that
    /// were told after its worker came, at `since_ms`, are his too.
    pub(super) fn watch_shared(
        &mut self,
        slot: u32,
        (wds, polled): (&[i32], bool),
        mut changed: bool,
        since_ms: u64,
        out: &mut Actions,
    ) {
        assert_eq!(self.slots[slot].mailbox, NIL, "adopted once");
        assert_eq!(self.state(slot), State::Offered);
        assert!(!self.slots[slot].has(Flag::Changed));
        let end = wds.iter().position(|wd| *wd < 0).unwrap_or(wds.len());
        let wds = &wds[..end];
        changed |= self.orphans.know(wds, since_ms, self.now.mono_ms);
        if wds.is_empty() || !self.mailboxes.join(&mut self.slots, slot, wds, polled) {
            // Nowhere to sleep: better one wake too many than one too few.
            changed = true;
            self.let_go(wds, out);
        }
        if changed && !planted(Bug::ChangeForgotten) {
            self.turn(slot, Event::Change);
            self.slots[slot].set(Flag::Changed);
        }
    }

    /// Wakes the sleepers of changed mailboxes, a bounded number a step.
    pub(super) fn wake_changed(&mut self, out: &mut Actions) {
        assert!(self.mailboxes.count() <= self.limits.mailboxes_max as usize);
        self.mailboxes.ripen(self.now.mono_ms, self.debounce());
        for _ in 0..WAKES_PER_STEP {
            match self.mailboxes.next_changed() {
                Some(Changed::Sleeper(slot)) => {
                    self.unwatch(slot, out);
                    self.slots[slot].set(Flag::Changed);
                    match self.state(slot) {
                        State::Asleep => self.changed(slot, out),
                        // Ours soon, but not yet: the flag is looked at when it settles.
                        State::Offered | State::Given => {
                            self.turn(slot, Event::Change);
                        }
                        state => panic!("a watching client in {state:?}"),
                    }
                }
                Some(Changed::Empty(wds)) => self.let_go(&wds, out),
                None => return,
            }
        }
        self.busy |= self.mailboxes.has_changed();
    }

    /// At the end nobody waits for quiet.
    pub(super) fn debounce(&self) -> Debounce {
        if self.stop.is_some() { Debounce::NONE } else { self.knobs.debounce }
    }

    /// The mailbox of a sleeping client changed.
    pub(super) fn changed(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].has(Flag::Changed));
        assert_eq!(self.state(slot), State::Asleep);
        self.wake(slot, Event::Change, Class::Change, out);
    }

    /// The client sleeps on no mailbox any more.
    pub(super) fn unwatch(&mut self, slot: u32, out: &mut Actions) {
        assert!(slot < self.slots.end());
        assert!(self.slots[slot].mailbox == NIL || !self.slots[slot].has(Flag::Kept));
        if self.slots[slot].mailbox != NIL {
            let wds = self.mailboxes.leave(&mut self.slots, slot);
            self.let_go(&wds, out);
        }
    }

    /// Lets go of watches that nobody sleeps on.
    fn let_go(&self, wds: &[i32], out: &mut Actions) {
        assert!(wds.len() <= WATCHES_MAX);
        assert!(wds.iter().all(|wd| *wd >= -1));
        for wd in wds.iter().filter(|wd| **wd >= 0 && !self.mailboxes.knows(**wd)) {
            out.push(Action::Watch(WatchOrder::Release { wd: *wd }));
        }
    }

    /// Polls a notify descriptor that could not be adopted.
    pub(super) fn arm_notify(&mut self, slot: u32, out: &mut Actions) {
        let record = &mut self.slots[slot];
        if record.has(Flag::Kept) && !record.has(Flag::Notify) {
            assert!(!record.has(Flag::NotifyCancel));
            assert_eq!(record.mailbox, NIL, "adopted and kept");
            record.set(Flag::Notify);
            self.counters.notify_kept += 1;
            out.ring(Op::PollNotify { token: self.token(Kind::Notify, slot), slot });
        }
    }

    pub(super) fn disarm_notify(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].has(Flag::Kept) || !self.slots[slot].has(Flag::Notify));
        assert_ne!(self.state(slot), State::Asleep, "a sleeper is blind");
        let record = &mut self.slots[slot];
        if record.has(Flag::Notify) && !record.has(Flag::NotifyCancel) {
            record.set(Flag::NotifyCancel);
            let target = self.token(Kind::Notify, slot);
            out.ring(Op::Cancel { token: self.token(Kind::CancelNotify, slot), target });
        }
    }

    /// Any readability, and any error, means a change; the events themselves are not looked at.
    pub(super) fn notified(&mut self, done: &Completion, out: &mut Actions) {
        let slot = self.slot_of(done);
        assert!(self.slots[slot].has(Flag::Notify) && !done.more);
        assert!(self.slots[slot].has(Flag::Kept), "polled without a descriptor");
        self.slots[slot].clear(Flag::Notify);
        self.counters.notify_kept -= 1;
        if self.state(slot) == State::Asleep {
            // Nobody has cancelled it, whatever the result says.
            self.slots[slot].set(Flag::Changed);
            self.changed(slot, out);
        }
        self.joined(slot, out);
    }

    pub(super) fn notify_cancelled(&mut self, done: &Completion, out: &mut Actions) {
        let slot = self.slot_of(done);
        assert!(self.slots[slot].has(Flag::NotifyCancel) && !done.more);
        self.slots[slot].clear(Flag::NotifyCancel);
        self.joined(slot, out);
    }

    /// A kept notify descriptor goes to the watcher, which closes it where that holds nobody up.
    pub(super) fn retire(&mut self, slot: u32, out: &mut Actions) {
        assert!(!self.slots[slot].has(Flag::NotifyCancel), "retired with a cancel in flight");
        if self.slots[slot].has(Flag::Kept) && !planted(Bug::NotifyForgotten) {
            assert!(!self.slots[slot].has(Flag::Notify), "retired with a poll in flight");
            self.slots[slot].clear(Flag::Kept);
            out.push(Action::Watch(WatchOrder::Retire { slot }));
        }
    }
}

/// Of four bytes each; a thousand events a second leave one in four alone for a second.
const CELLS: usize = 4096;
