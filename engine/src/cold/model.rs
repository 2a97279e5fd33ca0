//! Lines that others are stored by: one for each shape that is in use.
//!
//! The table has a fixed size. Who comes when it is full of models in use is stored as he is,
//! so a sender of strange lines makes his own dear and nobody else's. What is secret in a line is
//! a hash in hexadecimal; it is blotted out in a model, which would otherwise outlive its founder.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::LINE_BYTES_MAX;
use super::kind::Kind;
use super::shape::{HOLES_MAX, Hole, is_alike, pair_up};
use crate::image::Image as Memory;

/// The table: one page of entries, then the models.
pub struct Models {
    pub(super) memory: Memory,
}

/// What is looked through, so it lies close together.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Entry {
    shape: u64,
    /// Lines that are stored by the model; 0: its place is free.
    pub users: u32,
    /// Of the model.
    checksum: u32,
}

/// One model, as it lies in memory.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Image {
    holes: u16,
    bytes: u16,
    /// Zero: makes the size a multiple of eight.
    reserved: u32,
    hole: [Hole; HOLES_MAX],
    text: [u8; LINE_BYTES_MAX],
}

/// A line and its holes.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    pub line: &'a [u8],
    pub holes: &'a [Hole],
}

impl Models {
    /// A table in `memory`, which has [`MODELS_BYTES`].
    pub fn new(memory: Memory) -> Self {
        assert!(memory.len() >= MODELS_BYTES);
        Self { memory }
    }

    /// The model of a line's shape, made of the line itself where there is none; `None` when
    /// there is no room for it.
    pub fn find(&mut self, shape: u64, line: &[u8], holes: &[Hole]) -> Option<u8> {
        assert!(line.len() <= LINE_BYTES_MAX && holes.len() <= HOLES_MAX);
        let alike = |model: Model<'_>| is_alike(model.line, model.holes, line, holes);
        let has_shape = |id: &usize| self.entry(*id).users > 0 && self.entry(*id).shape == shape;
        let known =
            (0..self.fresh()).filter(has_shape).find(|id| self.model(*id).is_some_and(alike));
        if let Some(id) = known {
            return Some(id as u8);
        }
        let left = (0..self.fresh()).find(|id| self.entry(*id).users == 0);
        let id = left.or((self.fresh() < COUNT).then_some(self.fresh()))?;
        if id == self.fresh() {
            self.memory.set_word(FRESH, id as u64 + 1);
        }
        let image = self.image_mut(id);
        (image.holes, image.bytes) = (holes.len() as u16, line.len() as u16);
        image.hole[..holes.len()].copy_from_slice(holes);
        image.text[..line.len()].copy_from_slice(line);
        for hole in holes.iter().filter(|hole| hole.kind() == Kind::Hex) {
            image.text[usize::from(hole.at)..usize::from(hole.end)].fill(b'0');
        }
        pair_up(&image.text[..line.len()], &mut image.hole[..holes.len()]);
        let checksum = crc32fast::hash(image.as_bytes());
        *self.entry_mut(id) = Entry { shape, users: 0, checksum };
        Some(id as u8)
    }

    /// The model of this number; `None` when nothing lies there, or it is damaged.
    pub fn get(&self, id: u8) -> Option<Model<'_>> {
        self.model(id.into())
    }

    /// One more line is stored by it.
    pub fn join(&mut self, id: u8) {
        let users = &mut self.entry_mut(id.into()).users;
        *users = users.checked_add(1).expect("fewer lines than slots");
    }

    /// One less. Nothing stays of a model that nobody needs.
    pub fn leave(&mut self, id: u8) {
        let entry = self.entry_mut(id.into());
        assert!(entry.users > 0, "left by somebody who never joined");
        entry.users -= 1;
        if entry.users == 0 {
            self.clear(id.into());
        }
    }

    /// Nothing stays of it.
    pub(super) fn clear(&mut self, id: usize) {
        self.entry_mut(id).zero();
        self.image_mut(id).zero();
    }

    /// Models from here on have never been made.
    pub(super) fn fresh(&self) -> usize {
        (self.memory.word(FRESH) as usize).min(COUNT)
    }

    fn model(&self, id: usize) -> Option<Model<'_>> {
        let image = self.image(id);
        if id >= self.fresh() || self.entry(id).checksum != crc32fast::hash(image.as_bytes()) {
            return None;
        }
        let line = image.text.get(..usize::from(image.bytes)).filter(|line| !line.is_empty())?;
        Some(Model { line, holes: image.hole.get(..usize::from(image.holes))? })
    }

    pub(super) fn entry(&self, id: usize) -> &Entry {
        let at = id * ENTRY_BYTES;
        Entry::ref_from_bytes(&self.memory[at..at + ENTRY_BYTES]).expect("aligned and of its size")
    }

    pub(super) fn entry_mut(&mut self, id: usize) -> &mut Entry {
        let at = id * ENTRY_BYTES;
        Entry::mut_from_bytes(self.memory.edit(at, ENTRY_BYTES)).expect("aligned and of its size")
    }

    fn image(&self, id: usize) -> &Image {
        let at = COUNT * ENTRY_BYTES + id * IMAGE_BYTES;
        Image::ref_from_bytes(&self.memory[at..at + IMAGE_BYTES]).expect("aligned and of its size")
    }

    fn image_mut(&mut self, id: usize) -> &mut Image {
        let at = COUNT * ENTRY_BYTES + id * IMAGE_BYTES;
        Image::mut_from_bytes(self.memory.edit(at, IMAGE_BYTES)).expect("aligned and of its size")
    }
}

/// Which of the memory's words it is.
const FRESH: usize = 0;
/// Models at most: their numbers are bytes.
const COUNT: usize = u8::MAX as usize + 1;
const ENTRY_BYTES: usize = size_of::<Entry>();
const IMAGE_BYTES: usize = size_of::<Image>();
/// Of a table.
pub const MODELS_BYTES: usize = COUNT * (ENTRY_BYTES + IMAGE_BYTES);

const _: () = assert!(ENTRY_BYTES == 16 && IMAGE_BYTES == 8 + HOLES_MAX * 8 + LINE_BYTES_MAX);
const _: () = assert!(IMAGE_BYTES.is_multiple_of(align_of::<Entry>()));
