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
mod tests;
