//! What happens to mailboxes, and who is owed a wake for it.

use torpor_handoff::queue::Class;

use super::Core;
use crate::action::{Action, Actions};
use crate::limits::WAKES_PER_STEP;
use crate::mailboxes::{Changed, WATCHES_MAX};
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::ring::{Completion, Op};
use crate::state::{Event, State};
use crate::token::Kind;
use crate::watch::{WatchEvent, WatchOrder, events};

/// Events that came while adoptions were under way: an event may reach us before the watcher's
/// reply says whom it is for.
pub(super) struct Orphans {
    under_way: u32,
    wds: [i32; ORPHANS_MAX],
    count: usize,
    /// More came than can be remembered: every adoption under way counts as changed.
    overflow: bool,
}

impl Orphans {
    pub(super) fn new() -> Self {
        Self { under_way: 0, wds: [0; ORPHANS_MAX], count: 0, overflow: false }
    }

    pub(super) fn begin(&mut self) {
        assert!(self.under_way < u32::MAX);
        self.under_way += 1;
        assert!(self.count <= ORPHANS_MAX);
    }

    pub(super) fn end(&mut self) {
        assert!(self.count <= ORPHANS_MAX);
        assert!(self.under_way > 0);
        self.under_way -= 1;
        if self.under_way == 0 {
            (self.count, self.overflow) = (0, false);
        }
    }

    fn remember(&mut self, wd: i32) {
        assert!(wd >= 0, "an overflow is nobody's");
        assert!(self.count == 0 || self.under_way > 0, "remembered for nobody");
        let known = self.wds[..self.count].contains(&wd);
        if self.under_way == 0 || known || planted(Bug::OrphanDropped) {
            return;
        }
        match self.count < ORPHANS_MAX {
            true => {
                self.wds[self.count] = wd;
                self.count += 1;
            }
            false => self.overflow = true,
        }
    }

    fn remember_all(&mut self) {
        assert!(!self.overflow || self.under_way > 0);
        self.overflow |= self.under_way > 0;
    }

    fn knows(&self, wds: &[i32]) -> bool {
        assert!(self.under_way > 0, "asked for by an adoption");
        assert!(wds.iter().all(|wd| *wd >= 0));
        self.overflow || self.wds[..self.count].iter().any(|wd| wds.contains(wd))
    }
}

impl Core {
    /// The shared inotify instance has spoken.
    pub(super) fn watched(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        assert_eq!(done.token.index(), 0, "there is one shared instance");
        assert!(done.passed.iter().all(Option::is_none));
        if done.result > 0 {
            for event in events(done.bytes.of(bytes)) {
                self.watch_event(event);
            }
        } else if done.result < 0 && done.result != -libc::ENOBUFS {
            // Whatever went wrong, events may be missing.
            self.trouble(-done.result, out);
            self.everything_changed();
        }
        if !done.more && !planted(Bug::WatchReadForgotten) {
            out.ring(Op::ReadWatch { token: done.token });
        }
    }

    fn watch_event(&mut self, event: WatchEvent) {
        assert!(self.mailboxes.count() <= self.limits.mailboxes_max as usize);
        assert!(event.wd >= 0 || event.is_overflow());
        self.counters.watch_events += 1;
        if event.is_overflow() && planted(Bug::OverflowIgnored) {
            return;
        }
        if event.is_overflow() {
            self.counters.watch_overflows += 1;
            self.everything_changed();
        } else {
            // A known watch may be one that somebody is just adopting as well: remember it for him.
            self.mailboxes.mark_changed(event.wd);
            self.orphans.remember(event.wd);
        }
    }

    fn everything_changed(&mut self) {
        self.mailboxes.mark_all_changed();
        self.orphans.remember_all();
    }

    /// The watches of a client that is being hibernated are on the shared instance.
    pub(super) fn watch_shared(
        &mut self,
        slot: u32,
        wds: &[i32],
        changed: bool,
        out: &mut Actions,
    ) {
        assert_eq!(self.slots[slot].mailbox, NIL, "adopted once");
        assert_eq!(self.state(slot), State::Offered);
        assert!(!self.slots[slot].has(Flag::Changed));
        let end = wds.iter().position(|wd| *wd < 0).unwrap_or(wds.len());
        let wds = &wds[..end];
        let mut changed = changed || self.orphans.knows(wds);
        if wds.is_empty() || !self.mailboxes.join(&mut self.slots, slot, wds) {
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

const ORPHANS_MAX: usize = 64;
