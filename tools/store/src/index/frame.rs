//! Frames: how entries are packed for one write, and how a log of them is read back.
//!
//! Every prefix of whole frames is a true state of the mailbox, so a log that was cut off
//! anywhere only lacks its last changes.

use std::io::{self, Read};

use zerocopy::{FromBytes, IntoBytes};

use super::layout::{
    Arrived, Booted, Changed, Counters, Expunged, FRAME_BYTES_MAX, FrameHeader, Kind, Scanned,
};
use crate::Flags;
use crate::file_name::Letters;

/// Frames of one transaction, in the order in which they shall hold.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The frame that still takes entries: where its header is, and what it holds.
    open: Option<(usize, Kind)>,
}

impl Batch {
    pub fn arrived(
        &mut self,
        uid: u32,
        modseq: u64,
        (base, flags, letters): (&[u8], Flags, Letters),
    ) {
        let name_bytes = u8::try_from(base.len()).expect("a file name has at most 255 bytes");
        let entry = Arrived { state: Changed::new(uid, modseq, flags, letters), name_bytes };
        self.entry(Kind::Arrived, &[entry.as_bytes(), base]);
    }

    pub fn changed(&mut self, uid: u32, modseq: u64, flags: Flags, letters: Letters) {
        let entry = Changed::new(uid, modseq, flags, letters);
        self.entry(Kind::Changed, &[entry.as_bytes()]);
    }

    pub fn expunged(&mut self, first: u32, last: u32, modseq: u64) {
        let entry = Expunged { first: first.into(), last: last.into(), modseq: modseq.into() };
        self.entry(Kind::Expunged, &[entry.as_bytes()]);
    }

    pub fn keyword(&mut self, name: &str) {
        self.close();
        self.entry(Kind::Keyword, &[name.as_bytes()]);
        self.close();
    }

    pub fn counters(&mut self, uid_next: u32, recent_next: u32, highest_modseq: u64) {
        let (uid_next, recent_next) = (uid_next.into(), recent_next.into());
        let entry = Counters { uid_next, recent_next, highest_modseq: highest_modseq.into() };
        self.close();
        self.entry(Kind::Counters, &[entry.as_bytes()]);
    }

    pub fn scanned(&mut self, scanned: Scanned) {
        self.close();
        self.entry(Kind::Scanned, &[scanned.as_bytes()]);
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn booted(&mut self, id: u128) {
        self.close();
        self.entry(Kind::Booted, &[Booted { id: id.into() }.as_bytes()]);
    }

    /// The frames, ready to be written; no entry can be added to the last one any more.
    pub fn finish(&mut self) -> &[u8] {
        self.close();
        &self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.open = None;
    }

    fn entry(&mut self, kind: Kind, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let fits = |at: usize| self.bytes.len() - at + length <= FRAME_BYTES_MAX;
        if !self.open.is_some_and(|(at, open)| open == kind && fits(at)) {
            self.close();
            self.open = Some((self.bytes.len(), kind));
            self.bytes.extend_from_slice(&[0; size_of::<FrameHeader>()]);
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    fn close(&mut self) {
        let Some((at, kind)) = self.open.take() else { return };
        let (length, payload_crc) = {
            let payload = &self.bytes[at + size_of::<FrameHeader>()..];
            (payload.len() as u32, crc32fast::hash(payload))
        };
        let (length, payload_crc) = (length.into(), payload_crc.into());
        let kind = kind as u8;
        let mut header = FrameHeader { length, kind, reserved: [0; 3], payload_crc, crc: 0.into() };
        header.crc = header_crc(&header).into();
        self.bytes[at..at + size_of::<FrameHeader>()].copy_from_slice(header.as_bytes());
    }
}

/// What stands at a place of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame; its payload was put into the buffer.
    Frame(Kind),
    /// The log ends here, or was cut off here.
    End,
    Damage(&'static str),
}

/// Reads the frame at the reader's place, of which `rest` bytes of the file are left.
pub fn read(from: &mut impl Read, rest: u64, payload: &mut Vec<u8>) -> io::Result<Next> {
    if rest < size_of::<FrameHeader>() as u64 {
        return Ok(Next::End);
    }
    let header = FrameHeader::read_from_io(&mut *from)?;
    if header.as_bytes().iter().all(|byte| *byte == 0) {
        // After a power failure a file may be longer than what was written to it.
        let is_hole = is_zero(from, rest - size_of::<FrameHeader>() as u64)?;
        return Ok(if is_hole { Next::End } else { Next::Damage("a hole") });
    }
    if header.crc.get() != header_crc(&header) {
        return Ok(Next::Damage("checksum of a frame header"));
    }
    let length = header.length.get() as usize;
    if length > FRAME_BYTES_MAX {
        return Ok(Next::Damage("length of a frame"));
    }
    if (length + size_of::<FrameHeader>()) as u64 > rest {
        return Ok(Next::End);
    }
    payload.resize(length, 0);
    from.read_exact(payload)?;
    if header.payload_crc.get() != crc32fast::hash(payload) {
        return Ok(Next::Damage("checksum of a frame"));
    }
    Ok(Kind::of(header.kind).map_or(Next::Damage("kind of a frame"), Next::Frame))
}

fn is_zero(from: &mut impl Read, mut rest: u64) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    while rest > 0 {
        let part = buffer.len().min(rest as usize);
        from.read_exact(&mut buffer[..part])?;
        if buffer[..part].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        rest -= part as u64;
    }
    Ok(true)
}

fn header_crc(header: &FrameHeader) -> u32 {
    crc32fast::hash(&header.as_bytes()[..size_of::<FrameHeader>() - size_of::<u32>()])
}
