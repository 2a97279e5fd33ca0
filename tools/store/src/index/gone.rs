//! Which UIDs were expunged, and when: kept for ever, so that no client has to start anew.

use std::ops::RangeInclusive;

use super::layout::Expunged;

/// Ranges in the order of their modseq.
#[derive(Debug, Default)]
pub struct Gone {
    ranges: Vec<Expunged>,
}

impl Gone {
    /// Adds a range; its modseq is not below any that was added before.
    pub fn push(&mut self, range: Expunged) {
        if let Some(last) = self.ranges.last_mut()
            && last.modseq == range.modseq
            && last.last.get().checked_add(1) == Some(range.first.get())
        {
            last.last = range.last;
            return;
        }
        self.ranges.push(range);
    }

    /// UIDs that went after `modseq`, sorted, disjoint and as few ranges as can be.
    pub fn since(&self, modseq: u64) -> Vec<RangeInclusive<u32>> {
        let from = self.ranges.partition_point(|range| range.modseq.get() <= modseq);
        let mut found: Vec<_> =
            self.ranges[from..].iter().map(|range| range.first.get()..=range.last.get()).collect();
        found.sort_unstable_by_key(|range| *range.start());
        found.dedup_by(|next, range| {
            let joins = *next.start() <= range.end().saturating_add(1);
            if joins {
                *range = *range.start()..=(*range.end()).max(*next.end());
            }
            joins
        });
        found
    }

    pub fn ranges(&self) -> &[Expunged] {
        &self.ranges
    }

    /// Joins neighbours that no living message parts, under the later modseq, once there are too
    /// many. A client then hears again of some UIDs that it knows to be gone, which RFC 7162
    /// 3.2.6 allows; it never misses one.
    pub fn compact(&mut self, is_alive: impl Fn(RangeInclusive<u32>) -> bool) {
        if self.ranges.len() <= RANGES_MAX {
            return;
        }
        self.ranges.sort_unstable_by_key(|range| range.first.get());
        self.ranges.dedup_by(|next, range| {
            let joins = !is_alive(range.last.get()..=next.first.get());
            if joins {
                range.last = range.last.max(next.last);
                range.modseq = range.modseq.max(next.modseq);
            }
            joins
        });
        self.ranges.sort_by_key(|range| range.modseq.get());
    }

    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

/// 16 bytes each: at most 256 KiB for a mailbox of few messages.
const RANGES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(ranges: impl IntoIterator<Item = (u32, u32, u64)>) -> Gone {
        let mut gone = Gone::default();
        for (first, last, modseq) in ranges {
            gone.push(Expunged { first: first.into(), last: last.into(), modseq: modseq.into() });
        }
        gone
    }

    #[test]
    fn ranges_of_one_transaction_join_and_later_ones_stay_apart() {
        let gone = gone([(1, 2, 5), (3, 3, 5), (9, 9, 5), (4, 4, 6)]);
        assert_eq!(gone.ranges().len(), 3);
        assert_eq!(gone.since(5), [4..=4]);
        assert_eq!(gone.since(4), [1..=4, 9..=9]);
        assert_eq!(gone.since(6), []);
    }

    #[test]
    fn compaction_misses_nothing_and_joins_no_living_message() {
        let many = RANGES_MAX as u32 + 2;
        let mut gone = gone((0..many).map(|n| (2 * n + 1, 2 * n + 1, u64::from(n) + 2)));
        let alive = 1000;
        gone.compact(|range| range.contains(&alive));
        let ranges: Vec<_> = gone.ranges().iter().map(|r| (r.first.get(), r.last.get())).collect();
        assert_eq!(ranges, [(1, 999), (1001, 2 * many - 1)]);
        assert_eq!(gone.since(u64::from(many)), [1001..=2 * many - 1]);
        assert!(gone.since(u64::from(many) + 1).is_empty());
    }
}
