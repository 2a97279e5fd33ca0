//! Sets of UIDs or sequence numbers, as ranges: small however many numbers they hold.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;

use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};

/// Ranges that are sorted, not empty, and neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<RangeInclusive<u32>>);

impl Ranges {
    /// What a client named; `*` is `largest`, and `a:b` is `b:a`.
    pub fn named(set: &SequenceSet, largest: u32) -> Self {
        let value = |number: &SeqOrUid| match number {
            SeqOrUid::Value(value) => value.get(),
            SeqOrUid::Asterisk => largest,
        };
        let range = |sequence: &Sequence| match sequence {
            Sequence::Single(number) => value(number)..=value(number),
            Sequence::Range(from, to) => value(from).min(value(to))..=value(from).max(value(to)),
        };
        set.0.as_ref().iter().map(range).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.end() - range.start()) + 1).sum()
    }

    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|range| *range.end())
    }

    pub fn ranges(&self) -> &[RangeInclusive<u32>] {
        &self.0
    }

    /// Every number, in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.iter().cloned().flatten()
    }

    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|range| *range.end() < number);
        self.0.get(at).is_some_and(|range| range.contains(&number))
    }

    /// Adds a number above all others, or a range of such.
    pub fn push(&mut self, new: RangeInclusive<u32>) {
        assert!(!new.is_empty());
        match self.0.last_mut() {
            Some(last) if *last.end() >= *new.start() - 1 => {
                assert!(last.start() <= new.start(), "ascending order");
                *last = *last.start()..=*last.end().max(new.end());
            }
            _ => self.0.push(new),
        }
    }

    /// The numbers in both.
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let mut both = Ranges::default();
        let mut others = other.0.iter().peekable();
        for range in &self.0 {
            while let Some(other) = others.peek() {
                let (from, to) = (*range.start().max(other.start()), *range.end().min(other.end()));
                if from <= to {
                    both.push(from..=to);
                }
                if other.end() > range.end() {
                    break;
                }
                others.next();
            }
        }
        both
    }

    /// Keeps the highest `count` ranges.
    pub fn keep_last(&mut self, count: usize) {
        self.0.drain(..self.0.len().saturating_sub(count));
    }
}

impl FromIterator<RangeInclusive<u32>> for Ranges {
    /// From ranges in any order; they may overlap, empty ones are left out.
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u32>>>(all: I) -> Self {
        let mut sorted: Vec<_> = all.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_unstable_by_key(|range| *range.start());
        let mut ranges = Ranges::default();
        for range in sorted {
            match ranges.0.last_mut() {
                Some(last) if last.end().saturating_add(1) >= *range.start() => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => ranges.0.push(range),
            }
        }
        ranges
    }
}

/// As in IMAP: `1:3,5`.
impl Display for Ranges {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (from, to) if from == to => write!(out, "{comma}{from}")?,
                (from, to) => write!(out, "{comma}{from}:{to}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, largest: u32) -> String {
        Ranges::named(&SequenceSet::try_from(text).unwrap(), largest).to_string()
    }

    #[test]
    fn named_sets_are_sorted_and_merged() {
        assert_eq!(named("5,1:2,4:3,9", 9), "1:5,9");
        assert_eq!(named("*:4,5:7", 10), "4:10");
        assert_eq!(named("559:*", 100), "100:559");
        assert_eq!(named("4294967295,4294967294", 1), "4294967294:4294967295");
    }

    #[test]
    fn an_intersection_is_what_both_hold() {
        // All pairs of subsets of eight numbers.
        let set = |bits: u32| -> Ranges {
            (1..=8)
                .filter(|number| bits & (1 << number) != 0)
                .map(|number| number..=number)
                .collect()
        };
        for left in (0..256).map(|bits| bits << 1) {
            for right in (0..256).map(|bits| bits << 1) {
                assert_eq!(set(left).intersection(&set(right)), set(left & right));
            }
        }
    }

    #[test]
    fn a_set_knows_its_numbers() {
        let mut set = Ranges::default();
        for number in [1, 2, 3, 7, 9, 10] {
            set.push(number..=number);
        }
        assert_eq!((set.to_string(), set.count()), ("1:3,7,9:10".into(), 6));
        assert_eq!(set.numbers().collect::<Vec<_>>(), [1, 2, 3, 7, 9, 10]);
        for number in 0..12 {
            assert_eq!(set.contains(number), [1, 2, 3, 7, 9, 10].contains(&number));
        }
        set.keep_last(2);
        assert_eq!(set.to_string(), "7,9:10");
    }
}
