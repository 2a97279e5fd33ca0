//! One deadline for each slot: a hashed timing wheel whose links lie in the records.
//!
//! 4,096 buckets of 100 ms, 410 s a turn. A later deadline stays in its bucket for as many turns
//! as it takes; arming and disarming are O(1) and nothing is ever allocated.

use crate::record::NIL;
use crate::slots::Slots;

/// The wheel. Ticks are [`TICK_MS`] long and never 0.
pub struct Wheel {
    heads: Vec<u32>,
    /// One bit for each bucket: set exactly when it has somebody.
    busy: [u64; BUCKETS / 64],
    /// Taken out of the bucket under the cursor, not yet looked at.
    due: u32,
    /// Buckets up to this tick have been emptied.
    cursor: u32,
    armed: u32,
}

impl Wheel {
    pub fn new() -> Self {
        let heads = vec![NIL; BUCKETS];
        Self { heads, busy: [0; BUCKETS / 64], due: NIL, cursor: 0, armed: 0 }
    }

    /// Lets `slot` expire at `deadline_ms`; replaces an earlier deadline.
    pub fn arm(&mut self, slots: &mut Slots, slot: u32, deadline_ms: u64) {
        self.disarm(slots, slot);
        let tick = tick_after(deadline_ms).max(self.cursor + 1);
        slots[slot].deadline = tick;
        self.link(slots, slot);
        self.armed += 1;
    }

    /// Takes `slot` out, if it is in.
    pub fn disarm(&mut self, slots: &mut Slots, slot: u32) {
        if slots[slot].deadline == 0 {
            return;
        }
        let (prev, next) = (slots[slot].wheel_prev, slots[slot].wheel_next);
        if next != NIL {
            slots[next].wheel_prev = prev;
        }
        if prev != NIL {
            slots[prev].wheel_next = next;
        } else if self.due == slot {
            self.due = next;
        } else {
            let bucket = slots[slot].deadline as usize % BUCKETS;
            assert_eq!(self.heads[bucket], slot, "a head nobody knows");
            self.heads[bucket] = next;
            self.mark(bucket);
        }
        let record = &mut slots[slot];
        (record.deadline, record.wheel_prev, record.wheel_next) = (0, NIL, NIL);
        self.armed -= 1;
    }

    /// The next slot whose deadline has come, and when that was; it is out of the wheel then.
    /// `budget` bounds the entries looked at and goes down with each.
    pub fn expire(
        &mut self,
        slots: &mut Slots,
        now_ms: u64,
        budget: &mut usize,
    ) -> Option<(u32, u64)> {
        let now = (now_ms / TICK_MS) as u32;
        while *budget > 0 {
            if self.due == NIL && !self.advance(now) {
                return None;
            }
            let slot = self.due;
            let deadline = slots[slot].deadline;
            *budget -= 1;
            self.disarm(slots, slot);
            if deadline <= now {
                return Some((slot, u64::from(deadline) * TICK_MS));
            }
            slots[slot].deadline = deadline;
            self.link(slots, slot);
            self.armed += 1;
        }
        None
    }

    /// When the wheel next wants to be looked at, milliseconds. Not later than the first deadline.
    pub fn next_ms(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        if self.due != NIL {
            return Some(u64::from(self.cursor) * TICK_MS);
        }
        Some(u64::from(self.cursor + self.ahead()) * TICK_MS)
    }

    /// Slots in the wheel.
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// Moves the cursor to the next busy bucket not after `now` and takes it out.
    fn advance(&mut self, now: u32) -> bool {
        assert_eq!(self.due, NIL);
        self.cursor = self.cursor.max(now.saturating_sub(BUCKETS as u32));
        if self.armed == 0 || self.cursor + self.ahead() > now {
            self.cursor = self.cursor.max(now);
            return false;
        }
        self.cursor += self.ahead();
        let bucket = self.cursor as usize % BUCKETS;
        self.due = core::mem::replace(&mut self.heads[bucket], NIL);
        assert_ne!(self.due, NIL, "a busy bucket has somebody");
        self.mark(bucket);
        true
    }

    fn link(&mut self, slots: &mut Slots, slot: u32) {
        let bucket = slots[slot].deadline as usize % BUCKETS;
        let head = core::mem::replace(&mut self.heads[bucket], slot);
        if head != NIL {
            slots[head].wheel_prev = slot;
        }
        (slots[slot].wheel_prev, slots[slot].wheel_next) = (NIL, head);
        self.mark(bucket);
    }

    fn mark(&mut self, bucket: usize) {
        let bit = 1 << (bucket % 64);
        if self.heads[bucket] == NIL {
            self.busy[bucket / 64] &= !bit;
        } else {
            self.busy[bucket / 64] |= bit;
        }
    }

    /// Ticks from the cursor to the next busy bucket, a word of buckets at a time.
    fn ahead(&self) -> u32 {
        let start = (self.cursor as usize + 1) % BUCKETS;
        let (word, bit) = (start / 64, start % 64);
        for turn in 0..=self.busy.len() {
            let mask = match turn {
                0 => u64::MAX << bit,
                _ => u64::MAX,
            };
            let busy = self.busy[(word + turn) % self.busy.len()] & mask;
            if busy != 0 {
                return (turn * 64 + busy.trailing_zeros() as usize - bit + 1) as u32;
            }
        }
        unreachable!("somebody is armed")
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

/// The first tick that does not come before the time. Never 0, which means "not armed".
fn tick_after(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(TICK_MS)).expect("13 years of ticks").max(1)
}

/// Length of a tick. Keepalives are due in whole seconds, queue limits in minutes.
pub const TICK_MS: u64 = 100;

const BUCKETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand steps against a sorted list: nobody expires early, late or twice.
    #[test]
    fn the_wheel_keeps_time_like_a_sorted_list() {
        let mut slots = Slots::for_test(64);
        let all: Vec<u32> = (0..64).map(|_| slots.claim().expect("free")).collect();
        let (mut wheel, mut model) = (Wheel::new(), vec![None::<u64>; 64]);
        let (mut random, mut now) = (0x9E37_79B9_7F4A_7C15_u64, 5_000_000_u64);
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = all[(random >> 33) as usize % all.len()];
            match random >> 60 {
                0..=7 => {
                    let deadline = now + 1 + (random >> 20) % 1_500_000;
                    wheel.arm(&mut slots, slot, deadline);
                    model[slot as usize] = Some(deadline);
                }
                8..=9 => {
                    wheel.disarm(&mut slots, slot);
                    model[slot as usize] = None;
                }
                _ => now += (random >> 40) % 40_000,
            }
            if let Some(next) = wheel.next_ms() {
                let first = model.iter().flatten().min().expect("somebody is armed");
                assert!(next <= first.next_multiple_of(TICK_MS).max(now + TICK_MS));
            }
            let mut budget = 10_000;
            while let Some((slot, due)) = wheel.expire(&mut slots, now, &mut budget) {
                let deadline = model[slot as usize].take().expect("armed");
                assert!(deadline <= due && due <= now, "early");
            }
            let late = model.iter().flatten().filter(|at| **at + TICK_MS <= now).count();
            assert_eq!(late, 0, "late");
            assert_eq!(wheel.armed() as usize, model.iter().flatten().count());
        }
    }

    #[test]
    fn a_budget_bounds_the_work_of_one_step() {
        let mut slots = Slots::for_test(8);
        let mut wheel = Wheel::new();
        for _ in 0..8 {
            let slot = slots.claim().expect("free");
            wheel.arm(&mut slots, slot, 100);
        }
        let mut budget = 3;
        while wheel.expire(&mut slots, 1000, &mut budget).is_some() {}
        assert_eq!((budget, wheel.armed()), (0, 5));
        assert_eq!(wheel.next_ms(), Some(100), "the rest is still due");
    }
}
