//! Whole lines, packed, each in a place of its own.
//!
//! ```text
//! seal (4 bytes) │ side chain plus one (4) │ model (1) │ the packed line │ zeros
//! ```
//! The seal is a checksum of all that follows it. A line is packed only if that gives it back to
//! the byte, which is tried every time.

use super::LINE_BYTES_MAX;
use super::model::Models;
use super::pack::Packer;
use super::shape::{HOLES_MAX, Hole, holes};
use super::shelf::{PLACE_BYTES_MAX, Shelf};

/// The places and what is needed to read them.
pub struct Lines {
    pub shelf: Shelf,
    pub models: Models,
    packer: Packer,
    holes: Vec<Hole>,
    packed: Vec<u8>,
    again: Vec<u8>,
}

/// Whose seal is broken: nothing in the place can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Lines {
    pub fn new(shelf: Shelf, models: Models) -> Self {
        let buffer = || Vec::with_capacity(4 * LINE_BYTES_MAX);
        let (packed, again) = (buffer(), buffer());
        let holes = Vec::with_capacity(HOLES_MAX);
        Self { shelf, models, packer: Packer::new(), holes, packed, again }
    }

    /// Packs a line into a new place; `None` when it does not come back to the byte, or there is
    /// no room for it.
    pub fn keep(&mut self, line: &[u8]) -> Option<u32> {
        let shape = holes(line, &mut self.holes)?;
        let id = self.models.find(shape, line, &self.holes)?;
        self.models.join(id);
        let place = self.keep_by(id, line);
        if place.is_none() {
            self.models.leave(id);
        }
        place
    }

    /// Appends the line.
    pub fn read(&mut self, handle: u32, out: &mut Vec<u8>) -> Result<(), Damaged> {
        let place = sealed(&self.shelf, handle)?;
        let start = out.len();
        let model = self.models.get(place[MODEL_AT]);
        let packed = &place[HEAD_BYTES..];
        let read = model.and_then(|model| self.packer.unpack(model, packed, out));
        if read.is_none() {
            out.truncate(start);
        }
        read.ok_or(Damaged)
    }

    /// The chain of input and output, if there is one.
    pub fn side(&self, handle: u32) -> Result<Option<u32>, Damaged> {
        Ok(word(sealed(&self.shelf, handle)?, SIDE_AT).checked_sub(1))
    }

    /// The number of the model in a sound place.
    pub(super) fn model_in(&self, handle: u32) -> Option<u8> {
        sealed(&self.shelf, handle).ok().map(|place| place[MODEL_AT])
    }

    /// Names the chain of input and output.
    pub fn set_side(&mut self, handle: u32, chain: u32) {
        assert_eq!(self.side(handle), Ok(None), "named once, and in a sound place");
        let place = self.shelf.place_mut(handle);
        place[SIDE_AT..SIDE_AT + 4].copy_from_slice(&(chain + 1).to_le_bytes());
        seal(place);
    }

    /// Gives the place of a sound line back, zeroed.
    pub fn close(&mut self, handle: u32) {
        assert!(sealed(&self.shelf, handle).is_ok(), "what it says may be somebody else's");
        self.models.leave(self.shelf.place(handle)[MODEL_AT]);
        self.shelf.release(handle);
    }

    fn keep_by(&mut self, id: u8, line: &[u8]) -> Option<u32> {
        let Self { packer, packed, again, .. } = self;
        let model = self.models.get(id)?;
        packed.clear();
        packed.resize(HEAD_BYTES, 0);
        packed[MODEL_AT] = id;
        packer.pack(model, line, &self.holes, packed);
        again.clear();
        packer.unpack(model, &packed[HEAD_BYTES..], again)?;
        if again != line || packed.len() > PLACE_BYTES_MAX {
            return None;
        }
        let handle = self.shelf.claim(packed.len())?;
        let place = self.shelf.place_mut(handle);
        place[..packed.len()].copy_from_slice(packed);
        seal(place);
        Some(handle)
    }
}

fn sealed(shelf: &Shelf, handle: u32) -> Result<&[u8], Damaged> {
    let place = shelf.place(handle);
    if checksum(place) == word(place, 0) { Ok(place) } else { Err(Damaged) }
}

fn seal(place: &mut [u8]) {
    let sum = checksum(place).to_le_bytes();
    place[..4].copy_from_slice(&sum);
}

fn checksum(place: &[u8]) -> u32 {
    crc32fast::hash(&place[4..])
}

fn word(place: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(place[at..at + 4].try_into().expect("four bytes"))
}

const SIDE_AT: usize = 4;
const MODEL_AT: usize = 8;
const HEAD_BYTES: usize = 9;
