//! What the client knows of its mailbox.
//!
//! The store runs ahead of it: others deliver, flag and expunge at any time, but a sequence number
//! means what the client thinks it means until it has been told otherwise (RFC 3501, 7.4.1). Only
//! `sync` changes a view after it was made.

use imap_codec::imap_types::sequence::SequenceSet;
use torpor_store::Message;

use crate::ranges::Ranges;

/// See the module. Four bytes a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// UIDs by sequence number, the first at 0; ascending.
    pub(crate) uids: Vec<u32>,
    /// UIDs that have \Recent in this session; some of them may be gone.
    pub(crate) recent: Ranges,
    /// How many messages with \Recent have been told of.
    pub(crate) recent_told: usize,
    /// Flags up to this modseq have been told.
    pub(crate) modseq: u64,
    /// No message at or above has been told of.
    pub(crate) uid_next: u32,
    /// Keywords that have been told of.
    pub(crate) keywords: usize,
}

/// Client: a sequence number that no message has. It gets BAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid messageset")]
pub struct BadSet;

impl View {
    pub fn count(&self) -> u32 {
        u32::try_from(self.uids.len()).expect("UIDs are 32 bits")
    }

    /// The UID of the message with this sequence number.
    pub fn uid(&self, sequence: u32) -> u32 {
        self.uids[sequence as usize - 1]
    }

    /// The sequence number of the message with this UID.
    pub fn sequence(&self, uid: u32) -> Option<u32> {
        let at = self.uids.binary_search(&uid).ok()?;
        Some(u32::try_from(at).expect("UIDs are 32 bits") + 1)
    }

    pub fn is_recent(&self, uid: u32) -> bool {
        self.recent.contains(uid)
    }

    /// How many messages have \Recent.
    pub fn recent_count(&self) -> usize {
        let count = |range: &std::ops::RangeInclusive<u32>| {
            let below = |uid: u32| self.uids.partition_point(|known| *known < uid);
            self.uids.partition_point(|known| known <= range.end()) - below(*range.start())
        };
        self.recent.ranges().iter().map(count).sum()
    }

    /// The sequence numbers of the messages that a set names. A set of UIDs may name some that do
    /// not exist, a set of sequence numbers may not; with no message at all even `*` is wrong.
    pub fn resolve(&self, set: &SequenceSet, by_uid: bool) -> Result<Ranges, BadSet> {
        if by_uid {
            let largest = self.uids.last().copied().unwrap_or(u32::MAX);
            return Ok(self.sequences(&Ranges::named(set, largest)));
        }
        let named = Ranges::named(set, self.count());
        match named.last() {
            Some(last) if last <= self.count() && !self.uids.is_empty() => Ok(named),
            _ => Err(BadSet),
        }
    }

    /// The sequence numbers of those of these UIDs that the client knows.
    pub fn sequences(&self, uids: &Ranges) -> Ranges {
        let sequence = |at: usize| u32::try_from(at).expect("UIDs are 32 bits");
        let known = |range: &std::ops::RangeInclusive<u32>| {
            let from = self.uids.partition_point(|uid| uid < range.start());
            sequence(from) + 1..=sequence(self.uids.partition_point(|uid| uid <= range.end()))
        };
        uids.ranges().iter().map(known).collect()
    }

    /// The UIDs of these sequence numbers.
    pub fn uids(&self, sequences: &Ranges) -> Vec<u32> {
        sequences.numbers().map(|sequence| self.uid(sequence)).collect()
    }

    /// The known messages that the store still has, with their sequence numbers.
    pub fn present<'a>(
        &'a self,
        messages: &'a [Message],
    ) -> impl Iterator<Item = (u32, &'a Message)> {
        let mut rest = messages;
        (1..).zip(&self.uids).filter_map(move |(sequence, uid)| {
            while rest.first().is_some_and(|message| message.uid < *uid) {
                rest = &rest[1..];
            }
            rest.first().filter(|message| message.uid == *uid).map(|message| (sequence, message))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(uids: &[u32]) -> View {
        View { uids: uids.to_vec(), ..View::default() }
    }

    fn resolved(view: &View, set: &str, by_uid: bool) -> Result<String, BadSet> {
        let set = SequenceSet::try_from(set).unwrap();
        view.resolve(&set, by_uid).map(|sequences| sequences.to_string())
    }

    #[test]
    fn sequence_numbers_must_exist_and_uids_need_not() {
        let three = view(&[2, 5, 9]);
        assert_eq!(resolved(&three, "1:*", false), Ok("1:3".into()));
        assert_eq!(resolved(&three, "4", false), Err(BadSet));
        assert_eq!(resolved(&three, "2:4", false), Err(BadSet));
        assert_eq!(resolved(&three, "3:8", true), Ok("2".into()));
        assert_eq!(resolved(&three, "1,5:*", true), Ok("2:3".into()));
        assert_eq!(resolved(&three, "100:*", true), Ok("3".into()));
        assert_eq!(resolved(&three, "3", true), Ok("".into()));
        for set in ["*", "1:*", "1"] {
            assert_eq!(resolved(&view(&[]), set, false), Err(BadSet));
            assert_eq!(resolved(&view(&[]), set, true), Ok("".into()));
        }
    }

    #[test]
    fn only_known_messages_are_recent() {
        let mut three = view(&[2, 5, 9]);
        three.recent = [3..=7, 9..=9, 12..=20].into_iter().collect();
        assert_eq!(three.recent_count(), 2);
        assert!(three.is_recent(5) && !three.is_recent(2));
        assert_eq!((three.sequence(5), three.sequence(6)), (Some(2), None));
    }
}
