//! An event on its way to the clerk, in a buffer that is used again and again.

use crossbeam_channel::{Receiver, Sender, bounded};
use torpor_engine::report::{Event, Report};

/// One report with a copy of its words.
#[derive(Debug)]
pub struct Note {
    pub event: Event,
    pub slot: u32,
    pub generation: u32,
    pub started_us: u64,
    /// Card, then text.
    bytes: Vec<u8>,
    card_bytes: usize,
}

impl Note {
    pub fn card(&self) -> &[u8] {
        &self.bytes[..self.card_bytes]
    }

    pub fn text(&self) -> &[u8] {
        &self.bytes[self.card_bytes..]
    }
}

/// Buffers of notes, so that writing one does not allocate.
#[derive(Clone, Debug)]
pub struct NotePool {
    give: Sender<Vec<u8>>,
    take: Receiver<Vec<u8>>,
}

impl NotePool {
    /// `notes_max` buffers of [`NOTE_BYTES`]: the most notes that can be on their way.
    pub fn new(notes_max: usize) -> Self {
        let (give, take) = bounded(notes_max);
        for _ in 0..notes_max {
            give.try_send(Vec::with_capacity(NOTE_BYTES)).expect("room for each of them");
        }
        Self { give, take }
    }

    /// Copies a report, or says that every buffer is on its way.
    pub fn write(&self, report: &Report, arena: &[u8]) -> Option<Note> {
        let mut bytes = self.take.try_recv().ok()?;
        let Report { event, slot, generation, started_us, .. } = *report;
        bytes.clear();
        bytes.extend_from_slice(report.card.of(arena));
        let card_bytes = bytes.len();
        bytes.extend_from_slice(report.text.of(arena));
        Some(Note { event, slot, generation, started_us, bytes, card_bytes })
    }

    /// Takes the buffer back. One that grew for an uncommon card shrinks again.
    pub fn recycle(&self, note: Note) {
        let mut bytes = note.bytes;
        bytes.clear();
        bytes.shrink_to(NOTE_BYTES);
        // The pool has room for all its buffers.
        let _ = self.give.try_send(bytes);
    }
}

/// A usual card: names, addresses, log prefix, statistics and the fields of the user database.
const NOTE_BYTES: usize = 768;

#[cfg(test)]
mod tests {
    use super::*;
    use torpor_engine::ring::Span;

    #[test]
    fn buffers_run_out_and_come_back() {
        let pool = NotePool::new(1);
        let report = Report {
            event: Event::Hibernated,
            slot: 1,
            generation: 2,
            started_us: 3,
            card: Span { at: 1, count: 2 },
            text: Span { at: 3, count: 1 },
        };
        let note = pool.write(&report, b"-abc").expect("the first buffer");
        assert_eq!((note.card(), note.text()), (&b"ab"[..], &b"c"[..]));
        assert!(pool.write(&report, b"-abc").is_none(), "there is only one");
        pool.recycle(note);
        assert!(pool.write(&report, b"-abc").is_some());
    }
}
