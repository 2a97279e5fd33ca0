//! Those who wait for a worker: how long they rest between two tries, and when waiting ends.

use super::Core;
use crate::action::Actions;
use crate::record::Flag;
use crate::report::Goodbye;
use crate::state::{Event, State};

impl Core {
    /// Doubles by itself: as long again as half of what it has waited already, up to one second,
    /// so that nobody waits for long after a worker's return. Where so many wait that this would
    /// keep the workers busy with refusing, each rests for longer. The slot number spreads those
    /// who came together.
    pub(super) fn rest_ms(&self, slot: u32, waited_ms: u64) -> u64 {
        let crowd_ms = u64::from(self.queue.len()) * OFFER_MS;
        let most_ms = crowd_ms.max(REST_MS_MAX).min(self.knobs.retry_ms_max);
        let least_ms = self.knobs.retry_ms_min.min(most_ms);
        assert!(least_ms > 0, "without a rest a refusal would spin");
        assert!(least_ms <= most_ms);
        let rest_ms = (waited_ms / 2).clamp(least_ms, most_ms);
        rest_ms - rest_ms * u64::from(slot % 8) / 32
    }

    /// Those who have waited for too long while nothing moved.
    pub(super) fn sweep_waiting(&mut self, out: &mut Actions) {
        assert!(self.moved_ms <= self.now.mono_ms);
        assert!(self.queue.len() <= self.slots.used());
        let now_ms = self.now.mono_ms;
        let Some(oldest_ms) = self.queue.oldest_ms() else { return };
        let limits = [self.knobs.input_wait_ms_max, self.knobs.change_wait_ms_max];
        let Some(least_ms) = limits.into_iter().filter(|limit| *limit > 0).min() else { return };
        if now_ms.saturating_sub(oldest_ms.max(self.moved_ms)) <= least_ms {
            return;
        }
        for slot in 0..self.slots.end() {
            if self.state(slot) != State::Queued || out.list.len() > GIVE_UPS_ACTIONS_MAX {
                continue;
            }
            let limit_ms = self.wait_ms_max(slot);
            let since_ms = self.slots[slot].queued_ms().max(self.moved_ms);
            let waited_ms = now_ms.saturating_sub(since_ms);
            if limit_ms > 0 && waited_ms > limit_ms {
                self.give_up(slot, out);
            }
        }
    }

    pub(super) fn give_up(&mut self, slot: u32, out: &mut Actions) {
        assert_eq!(self.state(slot), State::Queued);
        assert!(self.wait_ms_max(slot) > 0, "told to wait for ever");
        self.slots[slot].doom(Goodbye::Waited);
        self.leave(slot, Event::GiveUp, out);
    }

    pub(super) fn wait_ms_max(&self, slot: u32) -> u64 {
        assert!(!self.slots[slot].has(Flag::Doomed), "it waits for nothing");
        assert!(matches!(self.state(slot), State::Queued));
        match self.slots[slot].has(Flag::Input) {
            true => self.knobs.input_wait_ms_max,
            false => self.knobs.change_wait_ms_max,
        }
    }
}

/// Longest rest while few wait; half of what the promise of two seconds allows.
const REST_MS_MAX: u64 = 1000;
/// Those who rest come back at one in this time altogether: 50 a second.
const OFFER_MS: u64 = 20;
/// Actions after which a sweep leaves the rest to the next one.
const GIVE_UPS_ACTIONS_MAX: usize = 4096;
