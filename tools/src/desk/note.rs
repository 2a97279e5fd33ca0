//! An event on its way to the clerk, in a buffer that is used again and again.

use crossbeam_channel::{Receiver, Sender, bounded};
use memchr::memchr_iter;
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
    bytes: usize,
    card_fields: usize,
}

impl NotePool {
    /// `notes_max` buffers of `bytes`: the most notes that can be on their way. Of each card the
    /// first `card_fields` are copied.
    pub fn new(notes_max: usize, bytes: usize, card_fields: usize) -> Self {
        assert!(card_fields > 0, "a card without its user is nobody's");
        let (give, take) = bounded(notes_max);
        for _ in 0..notes_max {
            give.try_send(Vec::with_capacity(bytes)).expect("room for each of them");
        }
        Self { give, take, bytes, card_fields }
    }

    /// Copies a report, or says that every buffer is on its way.
    pub fn write(&self, report: &Report, arena: &[u8]) -> Option<Note> {
        let mut bytes = self.take.try_recv().ok()?;
        let Report { event, slot, generation, started_us, .. } = *report;
        bytes.clear();
        bytes.extend_from_slice(head(report.card.of(arena), self.card_fields));
        let card_bytes = bytes.len();
        bytes.extend_from_slice(report.text.of(arena));
        Some(Note { event, slot, generation, started_us, bytes, card_bytes })
    }

    /// Takes the buffer back. One that grew for an uncommon card shrinks again.
    pub fn recycle(&self, note: Note) {
        let mut bytes = note.bytes;
        bytes.clear();
        bytes.shrink_to(self.bytes);
        // The pool has room for all its buffers.
        let _ = self.give.try_send(bytes);
    }
}

/// The first fields of a card.
fn head(card: &[u8], fields: usize) -> &[u8] {
    memchr_iter(b'\t', card).nth(fields - 1).map_or(card, |at| &card[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use torpor_engine::ring::Span;

    #[test]
    fn buffers_run_out_and_come_back() {
        let pool = NotePool::new(1, 64, 12);
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

    #[test]
    fn a_card_is_cut_between_fields() {
        assert_eq!(head(b"a\tb\tc", 2), b"a\tb");
        assert_eq!(head(b"a\t\tc", 2), b"a\t");
        assert_eq!(head(b"a\tb", 5), b"a\tb");
        assert_eq!(head(b"", 1), b"");
    }
}
