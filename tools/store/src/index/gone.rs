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

    /// UIDs that went after `modseq`, sorted, disjoint and as few ranges as can be. What had gone
    /// by then is left out, though a later range may span it: a worker that wakes a client finds
    /// out by this what that client knew.
    pub fn since(&self, modseq: u64) -> Vec<RangeInclusive<u32>> {
        let from = self.ranges.partition_point(|range| range.modseq.get() <= modseq);
        let (before, after) = self.ranges.split_at(from);
        without(joined(after), &joined(before))
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

/// Sorted, and as few as can be.
fn joined(ranges: &[Expunged]) -> Vec<RangeInclusive<u32>> {
    let mut found: Vec<_> =
        ranges.iter().map(|range| range.first.get()..=range.last.get()).collect();
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

/// What is in `all` and not in `others`; both are joined.
fn without(
    all: Vec<RangeInclusive<u32>>,
    others: &[RangeInclusive<u32>],
) -> Vec<RangeInclusive<u32>> {
    let mut left = Vec::with_capacity(all.len());
    let mut others = others.iter().peekable();
    for range in all {
        let (mut first, last) = range.into_inner();
        while others.next_if(|other| *other.end() < first).is_some() {}
        // One that goes on beyond this range may cut the next as well, so it is only looked at.
        while let Some(other) = others.peek().filter(|other| *other.start() <= last) {
            if first < *other.start() {
                left.push(first..=*other.start() - 1);
            }
            first = other.end().saturating_add(1);
            if *other.end() > last {
                break;
            }
            others.next();
        }
        if first <= last {
            left.push(first..=last);
        }
    }
    left
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
    fn what_had_gone_before_is_not_said_to_have_gone_since() {
        // All pairs of an earlier and a later set out of six UIDs.
        let ranges = |bits: u32, modseq| {
            let uids = (1..=6).filter(move |uid| bits & (1 << uid) != 0);
            uids.map(move |uid| (uid, uid, modseq))
        };
        for (before, after) in (0..64).flat_map(|one| (0..64).map(move |two| (one << 1, two << 1)))
        {
            let gone = gone(ranges(before, 5).chain(ranges(after, 6)));
            let since: Vec<u32> = gone.since(5).into_iter().flatten().collect();
            let expected: Vec<u32> = ranges(after & !before, 6).map(|(uid, _, _)| uid).collect();
            assert_eq!(since, expected, "{before:b} {after:b}");
        }
        // As EXPUNGE writes it: neighbours as one range, over what went before.
        assert_eq!(gone([(2, 2, 5), (1, 3, 6)]).since(5), [1..=1, 3..=3]);
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
