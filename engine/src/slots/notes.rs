//! Notes on who is awake, behind the records, for an heir: see [`crate::awake`].
//!
//! A note is a session's hash and when it woke, in milliseconds; no time: it is blank. Notes that
//! were ever written lie below a mark, so that no page beyond it is ever touched.

use zerocopy::{FromBytes, IntoBytes};

use super::{END_WORD, LINE_BYTES, RECORD_BYTES, SEAL_BYTES, Slots};

impl Slots {
    /// Notes down that a session has been awake since then; [`BLANK`] that nobody is.
    pub fn note_awake(&mut self, index: u32, note: [u64; 2]) {
        if index >= self.notes_max() {
            return;
        }
        let at = self.note_at(index);
        self.image.edit(at, NOTE_BYTES).copy_from_slice(note.as_bytes());
        if index >= self.notes_end() {
            let end = self.image.word(END_WORD) & u64::from(u32::MAX);
            self.image.set_word(END_WORD, u64::from(index + 1) << 32 | end);
        }
    }

    /// Takes all notes, and leaves none.
    pub fn take_awake(&mut self) -> Vec<[u64; 2]> {
        let mut all = Vec::new();
        for index in 0..self.notes_end() {
            let at = self.note_at(index);
            let note = <[u64; 2]>::read_from_bytes(&self.image[at..at + NOTE_BYTES]);
            let note = note.expect("of its size");
            if note != BLANK {
                all.push(note);
                self.note_awake(index, BLANK);
            }
        }
        all
    }

    fn notes_end(&self) -> u32 {
        let end = (self.image.word(END_WORD) >> 32) as u32;
        end.min(self.notes_max())
    }

    /// As many as there is room for.
    fn notes_max(&self) -> u32 {
        let room = self.image.len().saturating_sub(place(self.capacity as usize)) / NOTE_BYTES;
        room as u32
    }

    fn note_at(&self, index: u32) -> usize {
        place(self.capacity as usize) + index as usize * NOTE_BYTES
    }
}

/// Where they lie in memory for so many clients.
pub fn place(capacity: usize) -> usize {
    (capacity * (RECORD_BYTES + SEAL_BYTES)).next_multiple_of(LINE_BYTES)
}

/// Bytes of so many.
pub fn bytes(count: u32) -> usize {
    count as usize * NOTE_BYTES
}

/// Of nobody.
pub const BLANK: [u64; 2] = [0; 2];
const NOTE_BYTES: usize = 16;
