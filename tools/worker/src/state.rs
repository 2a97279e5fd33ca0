//! What is kept of a session while its client sleeps.
//!
//! A few dozen bytes, however large the mailbox: not what the client knows, but how to find out.
//! docs/PROTOCOL.md describes each byte. A reader refuses what it does not know, so a block for a
//! later extension (NOTIFY, CONTEXT, COMPRESS) can be added without a new version.

use crate::features::Features;
use crate::ranges::Ranges;

/// A session that can be resumed; who it belongs to stands in the line around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub features: Features,
    pub selected: Option<SelectedState>,
}

/// The selected mailbox as the client knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectedState {
    /// In modified UTF-7.
    pub name: String,
    pub examine: bool,
    pub uid_validity: u32,
    /// The client knows no message at or above.
    pub uid_next: u32,
    /// Messages that it knows.
    pub count: u32,
    /// Changes up to here have been told.
    pub modseq: u64,
    /// CRC-32 of the UIDs that it knows, each in four bytes, little endian.
    pub uids_crc: u32,
    /// Keywords that it has been told of.
    pub keywords: u32,
    /// UIDs with \Recent, the latest `RECENT_RANGES_MAX` ranges.
    pub recent: Ranges,
}

/// Host: the state is not one that this version of the worker has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The first byte is another version's.
    #[error("state has version {0}, not {VERSION}")]
    Version(u8),
    /// A feature or block that this version does not have.
    #[error("state holds what this version does not know: {0:#04x}")]
    Unknown(u8),
    /// It ends early, goes on too long, or holds a number that is out of range.
    #[error("state is damaged: {0}")]
    Damaged(&'static str),
}

impl State {
    pub fn to_bytes(&self) -> Vec<u8> {
        let features = [(self.features.condstore, CONDSTORE), (self.features.qresync, QRESYNC)];
        let bits =
            features.iter().filter(|(is_set, _)| *is_set).fold(0, |bits, (_, bit)| bits | bit);
        let mut out = vec![VERSION, bits];
        if let Some(selected) = &self.selected {
            let block = selected.to_bytes();
            out.push(SELECTED);
            push(&mut out, block.len() as u64);
            out.extend_from_slice(&block);
        }
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader(bytes);
        match reader.byte("version")? {
            VERSION => {}
            other => return Err(StateError::Version(other)),
        }
        let bits = reader.byte("features")?;
        if bits & !(CONDSTORE | QRESYNC) != 0 {
            return Err(StateError::Unknown(bits));
        }
        let features = Features { condstore: bits & CONDSTORE != 0, qresync: bits & QRESYNC != 0 };
        let mut state = Self { features, selected: None };
        while !reader.0.is_empty() {
            let kind = reader.byte("block")?;
            let length = reader.number("block length")?;
            let block = reader.take(length, "block")?;
            match kind {
                SELECTED if state.selected.is_none() => {
                    state.selected = Some(SelectedState::from_bytes(block)?);
                }
                other => return Err(StateError::Unknown(other)),
            }
        }
        Ok(state)
    }
}

impl SelectedState {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.examine)];
        out.extend_from_slice(&self.uids_crc.to_le_bytes());
        for number in [self.uid_validity, self.uid_next, self.count, self.keywords] {
            push(&mut out, number.into());
        }
        push(&mut out, self.modseq);
        push(&mut out, self.recent.ranges().len() as u64);
        let mut before = 0;
        for range in self.recent.ranges() {
            push(&mut out, u64::from(range.start() - before));
            push(&mut out, u64::from(range.end() - range.start()));
            before = *range.end();
        }
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    fn from_bytes(block: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader(block);
        let examine = match reader.byte("examine")? {
            0 => false,
            1 => true,
            other => return Err(StateError::Unknown(other)),
        };
        let crc = reader.take(4, "uids_crc")?.try_into().expect("four bytes");
        let mut state = Self { examine, uids_crc: u32::from_le_bytes(crc), ..Self::default() };
        state.uid_validity = reader.small("uid_validity")?;
        state.uid_next = reader.small("uid_next")?;
        state.count = reader.small("count")?;
        state.keywords = reader.small("keywords")?;
        state.modseq = reader.number("modseq")?;
        let mut before = 0u32;
        for _ in 0..reader.number("recent")? {
            let damaged = StateError::Damaged("recent");
            let start = before.checked_add(reader.small("recent")?).ok_or(damaged)?;
            let end = start.checked_add(reader.small("recent")?).ok_or(damaged)?;
            if start == 0 || state.recent.last().is_some_and(|last| start <= last + 1) {
                return Err(damaged);
            }
            state.recent.push(start..=end);
            before = end;
        }
        let name = std::str::from_utf8(reader.0).map_err(|_| StateError::Damaged("name"))?;
        state.name = name.to_owned();
        Ok(state)
    }
}

/// A number in base 128, low digits first, the high bit set in all bytes but the last.
fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self, what: &'static str) -> Result<u8, StateError> {
        Ok(self.take(1, what)?[0])
    }

    fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], StateError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(count).ok_or(StateError::Damaged(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, what: &'static str) -> Result<u64, StateError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let digit = u64::from(byte & 0x7F);
            if (digit << shift) >> shift != digit {
                break;
            }
            number |= digit << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(StateError::Damaged(what))
    }

    fn small(&mut self, what: &'static str) -> Result<u32, StateError> {
        u32::try_from(self.number(what)?).map_err(|_| StateError::Damaged(what))
    }
}

const VERSION: u8 = 0x01;
const CONDSTORE: u8 = 0x01;
const QRESYNC: u8 = 0x02;
const SELECTED: u8 = b'S';

#[cfg(test)]
mod tests {
    use torpor_store::MailboxName;

    use super::*;
    use crate::limits::RECENT_RANGES_MAX;

    fn example() -> State {
        State {
            features: Features { condstore: true, qresync: true },
            selected: Some(SelectedState {
                name: "Lists.rust".into(),
                examine: true,
                uid_validity: 1_795_445_067,
                uid_next: 300,
                count: 128,
                modseq: 0x1_0000_0000,
                uids_crc: 0xDEAD_BEEF,
                keywords: 2,
                recent: [5..=9, 298..=298].into_iter().collect(),
            }),
        }
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        // A sleeper of today has to be woken by tomorrow's worker.
        let golden = [
            &[0x01, 0x03, b'S', 0x24, 0x01, 0xEF, 0xBE, 0xAD, 0xDE][..],
            &[0xCB, 0xA2, 0x91, 0xD8, 0x06, 0xAC, 0x02, 0x80, 0x01, 0x02],
            &[0x80, 0x80, 0x80, 0x80, 0x10, 0x02, 0x05, 0x04, 0xA1, 0x02, 0x00],
            b"Lists.rust",
        ]
        .concat();
        assert_eq!(format!("{:02x?}", example().to_bytes()), format!("{golden:02x?}"));
        assert_eq!(State::from_bytes(&golden), Ok(example()));
        assert_eq!(State::default().to_bytes(), [0x01, 0x00]);
        assert_eq!(State::from_bytes(&[0x01, 0x00]), Ok(State::default()));
    }

    #[test]
    fn foreign_and_cut_states_are_refused() {
        let bytes = example().to_bytes();
        for end in 0..bytes.len() {
            // A state that ends between two blocks is a whole one.
            assert_eq!(State::from_bytes(&bytes[..end]).is_ok(), end == 2, "{end}");
        }
        let refused = [
            (&b"\x02\x00"[..], StateError::Version(2)),
            (b"base\nBINBOX", StateError::Version(b'b')),
            (b"\x01\x04", StateError::Unknown(4)),
            (b"\x01\x00N\x00", StateError::Unknown(b'N')),
            (
                b"\x01\x00S\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
                StateError::Damaged("block length"),
            ),
        ];
        for (bytes, error) in refused {
            assert_eq!(State::from_bytes(bytes), Err(error));
        }
    }

    #[test]
    fn any_changed_byte_is_read_or_refused() {
        let bytes = example().to_bytes();
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(state) = State::from_bytes(&changed) {
                    assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
                }
            }
        }
    }

    #[test]
    fn the_largest_state_is_small() {
        let step = u32::MAX / RECENT_RANGES_MAX as u32;
        let range = |number: u32| number * step + 1..=number * step + step / 2;
        let largest = State {
            selected: Some(SelectedState {
                name: "x".repeat(MailboxName::BYTES_MAX),
                uid_validity: u32::MAX,
                uid_next: u32::MAX,
                count: u32::MAX,
                modseq: u64::MAX,
                keywords: 56,
                recent: (0..RECENT_RANGES_MAX as u32).map(range).collect(),
                ..SelectedState::default()
            }),
            ..State::default()
        };
        let bytes = largest.to_bytes();
        assert_eq!(State::from_bytes(&bytes), Ok(largest));
        assert!((350..=380).contains(&bytes.len()), "{}", bytes.len());
    }

    #[test]
    fn every_number_goes_round() {
        for number in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            let mut reader = Reader(&bytes);
            assert_eq!((reader.number("n"), reader.0), (Ok(number), &[][..]));
        }
    }
}
