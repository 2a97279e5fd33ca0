//! Memory that a kill takes back to the last commit.
//!
//! ```text
//! head │ words │ data: lines of 64 bytes │ journal: what lines held before this transaction
//! ```
//! All images of an engine change in *transactions*. Before a line is written for the first time
//! in a transaction, the journal keeps what it held, stamped with the transaction's number; one
//! store of that number into the head of one image, the *master*, commits all of them. An heir
//! puts back whatever is stamped with the number that was not committed. So wherever the engine
//! is killed, its memory is as it was after some whole step, and no code that writes to it has to
//! think of that.
//!
//! Order matters to the compiler alone: all stores that a killed process has made are seen by
//! whoever maps the memory next, on every processor. A fence of the compiler stands between what
//! is kept and its stamp, and between the stamp and what is written.

mod kind;

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::planted::{Bug, kill_point, planted};
use crate::sys::map::{Map, PAGE_BYTES};

pub use kind::{Foreign, Kind};

/// An image. Reads as its data.
pub struct Image {
    map: Map,
    /// Of words and data.
    lines: usize,
    /// Number of the transaction under way.
    epoch: u64,
    /// One bit a line: set exactly when the journal has it in this transaction.
    saved: Vec<u64>,
    /// Lines in the journal in this transaction.
    count: usize,
}

/// What an image says of itself. The rest of its page is zero.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    format: u32,
    /// Which image of an engine it is.
    kind: u32,
    /// Bytes of words and data.
    bytes: u64,
    /// In the master: the last transaction that was committed.
    committed: u64,
}

/// A line of the journal.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Entry {
    held: [u8; LINE_BYTES],
    number: u64,
    /// Stored last: the entry counts from then on.
    epoch: u64,
}

impl Image {
    /// Bytes of a map for so many bytes of data.
    pub fn map_bytes(bytes: usize) -> usize {
        let lines = 1 + bytes.div_ceil(LINE_BYTES);
        HEAD_BYTES + lines * (LINE_BYTES + ENTRY_BYTES)
    }

    /// A new image of zeros in a map of [`Image::map_bytes`], which is zero itself.
    pub fn new(kind: Kind, mut map: Map) -> Self {
        let lines = lines(map.len());
        let head = Head {
            magic: MAGIC,
            format: FORMAT,
            kind: kind as u32,
            bytes: (lines * LINE_BYTES) as u64,
            committed: 0,
        };
        head.write_to_prefix(&mut map[..HEAD_BYTES]).expect("a page holds a head");
        Self { map, lines, epoch: 1, saved: vec![0; lines.div_ceil(64)], count: 0 }
    }

    /// An image that somebody else has written.
    ///
    /// # Errors
    /// It is not one of ours, or not of this kind, format and size.
    pub fn open(kind: Kind, map: Map) -> Result<Self, Foreign> {
        Self::check(kind, &map)?;
        let (lines, epoch) = (lines(map.len()), head(&map).committed + 1);
        Ok(Self { map, lines, epoch, saved: vec![0; lines.div_ceil(64)], count: 0 })
    }

    /// Looks whether [`Image::open`] could take a map over, which somebody else may be using.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn check(kind: Kind, map: &Map) -> Result<(), Foreign> {
        let lines = lines(map.len());
        if lines < 2 {
            return Err(Foreign::Size(kind));
        }
        let head = head(map);
        match head.format {
            _ if head.magic != MAGIC || head.kind != kind as u32 => Err(Foreign::Magic(kind)),
            format if !(FORMAT_BEFORE..=FORMAT).contains(&format) => {
                Err(Foreign::Format(kind, format))
            }
            _ if head.bytes != (lines * LINE_BYTES) as u64 => Err(Foreign::Size(kind)),
            _ if head.committed == u64::MAX => Err(Foreign::Magic(kind)),
            _ => Ok(()),
        }
    }

    /// True exactly when nothing was ever committed in a map that is to be a master.
    pub fn is_new(map: &Map) -> bool {
        lines(map.len()) >= 2 && head(map).committed == 0
    }

    /// Of a master: the last transaction that was committed.
    pub fn committed(&self) -> u64 {
        head(&self.map).committed
    }

    /// Puts back what lines held before the transaction that followed `committed` and was not.
    /// May be killed and done again: what is put back stays in the journal.
    pub fn roll_back(&mut self, committed: u64) {
        assert_eq!(self.count, 0, "before anything is written");
        self.epoch = committed + 1;
        let is_of_it = |at: &usize| self.entry(*at).epoch == self.epoch;
        let count = (0..self.lines).take_while(is_of_it).count();
        for at in (0..count).rev() {
            let Entry { held, number, .. } = *self.entry(at);
            if number < self.lines as u64 {
                let at = HEAD_BYTES + number as usize * LINE_BYTES;
                self.map[at..at + LINE_BYTES].copy_from_slice(&held);
            }
        }
    }

    /// `count` bytes of the data, to be written.
    pub fn edit(&mut self, at: usize, count: usize) -> &mut [u8] {
        self.write(LINE_BYTES + at, count)
    }

    /// Zeroes data that means nothing to an heir, whatever he finds there, and gives back what it
    /// lay in. No kill undoes that.
    pub fn release(&mut self, at: usize, count: usize) {
        let from = HEAD_BYTES + LINE_BYTES + at;
        self.map.release(from..from + count);
    }

    /// One of the [`WORDS`] numbers that the owner keeps beside its data.
    pub fn word(&self, index: usize) -> u64 {
        assert!(index < WORDS);
        let at = HEAD_BYTES + index * 8;
        u64::read_from_bytes(&self.map[at..at + 8]).expect("eight bytes")
    }

    pub fn set_word(&mut self, index: usize, value: u64) {
        assert!(index < WORDS);
        self.write(index * 8, 8).copy_from_slice(value.as_bytes());
    }

    /// Lines that were written in this transaction.
    pub fn written(&self) -> usize {
        self.count
    }

    /// Where in the data such a line lies; `None` for that of the words.
    pub fn written_at(&self, index: usize) -> Option<usize> {
        assert!(index < self.count);
        let line = self.entry(index).number as usize;
        (line > 0).then(|| (line - 1) * LINE_BYTES)
    }

    /// Of a master: from here on nothing that was written is taken back. Returns the number of
    /// the next transaction, which every image is told of by [`Image::begin`]; until it is, its
    /// journal speaks of a transaction that is committed, and so of nothing.
    pub fn commit(&mut self) -> u64 {
        kill_point();
        compiler_fence(Ordering::SeqCst);
        store(&mut self.map[COMMITTED_AT..COMMITTED_AT + 8], self.epoch);
        compiler_fence(Ordering::SeqCst);
        kill_point();
        self.epoch + 1
    }

    /// Begins a transaction with an empty journal.
    pub fn begin(&mut self, epoch: u64) {
        assert!(epoch > self.epoch, "transactions have numbers of their own");
        for at in 0..self.count {
            let line = self.entry(at).number as usize;
            self.saved[line / 64] &= !(1 << (line % 64));
        }
        // Nothing of a secret stays here when it is gone from the data; and of the memory that a
        // large step has needed, nothing either.
        let (start, end) = (self.entry_at(0), self.entry_at(0) + self.count * ENTRY_BYTES);
        let kept = end.min((start + KEPT_BYTES).next_multiple_of(PAGE_BYTES));
        self.map[start..kept].fill(0);
        if kept < end {
            self.map.release(kept..end);
        }
        (self.epoch, self.count) = (epoch, 0);
    }

    #[cfg(test)]
    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// What it lies in, for an heir.
    pub fn into_map(self) -> Map {
        self.map
    }

    fn write(&mut self, at: usize, count: usize) -> &mut [u8] {
        assert!(count > 0 && at + count <= self.lines * LINE_BYTES, "outside of the image");
        kill_point();
        if !planted(Bug::JournalForgotten) {
            (at / LINE_BYTES..(at + count).div_ceil(LINE_BYTES)).for_each(|line| self.save(line));
        }
        &mut self.map[HEAD_BYTES + at..][..count]
    }

    fn save(&mut self, line: usize) {
        let bit = 1 << (line % 64);
        if self.saved[line / 64] & bit != 0 {
            return;
        }
        self.saved[line / 64] |= bit;
        let from = HEAD_BYTES + line * LINE_BYTES;
        let at = self.entry_at(self.count);
        self.map.copy_within(from..from + LINE_BYTES, at);
        let number = at + LINE_BYTES;
        self.map[number..number + 8].copy_from_slice(&(line as u64).to_ne_bytes());
        compiler_fence(Ordering::SeqCst);
        store(&mut self.map[number + 8..number + 16], self.epoch);
        compiler_fence(Ordering::SeqCst);
        self.count += 1;
    }

    fn entry_at(&self, at: usize) -> usize {
        assert!(at < self.lines, "no line is kept twice");
        HEAD_BYTES + self.lines * LINE_BYTES + at * ENTRY_BYTES
    }

    fn entry(&self, at: usize) -> &Entry {
        let at = self.entry_at(at);
        Entry::ref_from_bytes(&self.map[at..at + ENTRY_BYTES]).expect("aligned and of its size")
    }
}

impl Deref for Image {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map[HEAD_BYTES + LINE_BYTES..HEAD_BYTES + self.lines * LINE_BYTES]
    }
}

/// One store, so that no kill finds half of it.
fn store(word: &mut [u8], value: u64) {
    AtomicU64::mut_from_bytes(word).expect("an aligned word").store(value, Ordering::Relaxed);
}

fn head(map: &Map) -> &Head {
    Head::ref_from_bytes(&map[..size_of::<Head>()]).expect("aligned and of its size")
}

fn lines(map_bytes: usize) -> usize {
    map_bytes.saturating_sub(HEAD_BYTES) / (LINE_BYTES + ENTRY_BYTES)
}

/// Numbers that lie beside the data.
pub const WORDS: usize = LINE_BYTES / 8;
/// What is kept at once: a record, half a block of a chain.
pub const LINE_BYTES: usize = 64;
/// Written into every image. It goes up when the layout of any of them changes; a binary reads
/// [`FORMAT_BEFORE`] and what follows, so that an upgrade can take sleepers over, and writes on in
/// the format that it finds, so that an upgrade that fails can go back.
pub const FORMAT: u32 = 1;
/// The oldest format that is read. No older one was ever written.
pub const FORMAT_BEFORE: u32 = 1;

const MAGIC: [u8; 8] = *b"torpor\r\n";
pub(crate) const HEAD_BYTES: usize = 4096;
const ENTRY_BYTES: usize = size_of::<Entry>();
/// As much of a journal as most steps need.
const KEPT_BYTES: usize = 16 * 1024;
const COMMITTED_AT: usize = core::mem::offset_of!(Head, committed);

const _: () = assert!(ENTRY_BYTES.is_multiple_of(8) && LINE_BYTES.is_multiple_of(8));
const _: () = assert!(COMMITTED_AT.is_multiple_of(8));

#[cfg(test)]
mod tests;
