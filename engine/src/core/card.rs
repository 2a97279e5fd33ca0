//! Words for reports: a client's card, a reason, a number of the host.

use core::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write as _;

use torpor_handoff::line::HibernateLine;

use super::Core;
use super::cards::Row;
use crate::action::{Action, Actions};
use crate::report::{Event as Said, Report};
use crate::ring::Span;
use crate::state::State;

impl Core {
    /// Reports an event of a client, with its card.
    pub(super) fn report(&mut self, event: Said, slot: u32, out: &mut Actions) {
        assert!(slot < self.slots.end());
        assert_ne!(self.slots[slot].cold, crate::record::NIL, "its words are gone");
        self.report_reason(event, slot, b"", out);
    }

    /// Reports an event of a client, with its card and somebody's words.
    pub(super) fn report_reason(
        &mut self,
        event: Said,
        slot: u32,
        reason: &[u8],
        out: &mut Actions,
    ) {
        assert_ne!(self.state(slot), State::Free, "nobody is reported");
        assert!(reason.len() <= 1024, "reasons are short");
        let card = self.card(slot, out);
        let text = if reason.len() <= out.room() { out.text(reason) } else { Span::default() };
        let record = &self.slots[slot];
        let (generation, started_us) = (record.generation, record.started_us);
        out.push(Action::Report(Report { event, slot, generation, started_us, card, text }));
    }

    /// Reports what no client stands behind.
    pub(super) fn report_text(&mut self, event: Said, text: &[u8], out: &mut Actions) {
        assert!(!matches!(event, Said::Hibernated | Said::Unhibernated(_)), "has a client");
        assert!(text.len() <= 1024, "reasons are short");
        let text = if text.len() <= out.room() { out.text(text) } else { Span::default() };
        let card = Span::default();
        let (slot, generation, started_us) = (0, 0, 0);
        out.push(Action::Report(Report { event, slot, generation, started_us, card, text }));
    }

    /// Reports that the host failed us.
    pub(super) fn trouble(&mut self, errno: i32, out: &mut Actions) {
        assert!(errno < 4096, "the kernel's errnos end there");
        assert!(errno > 0, "an errno");
        self.report_text(Said::Trouble(errno), b"", out);
    }

    /// Writes a client's card (see [`crate::report::CARD_FIELDS`]) into the arena of the actions.
    pub(super) fn card(&mut self, slot: u32, out: &mut Actions) -> Span {
        assert_ne!(self.state(slot), State::Free, "nobody has no card");
        if out.room() < CARDS_ROOM_BYTES {
            return Span::default();
        }
        let generation = self.slots[slot].generation;
        if let Some(row) = self.row(slot)
            && let Some(card) = self.cards.take(row, slot, generation)
        {
            return out.text(card);
        }
        let line = self.lend_line(slot);
        let at = out.bytes.len();
        if let Ok(parsed) = HibernateLine::parse(&line) {
            write_card(&parsed, &mut out.bytes);
        }
        self.line = line;
        Span { at: at as u32, count: (out.bytes.len() - at) as u32 }
    }

    /// Keeps the card of a client whose line is at hand.
    pub(super) fn keep_card(&mut self, slot: u32, parsed: &HibernateLine<'_>) {
        assert!(self.text.capacity() > 0, "the buffer is lent out");
        let mut card = core::mem::take(&mut self.text);
        card.clear();
        write_card(parsed, &mut card);
        let row = self.row(slot).expect("on its way in, or out");
        self.cards.put(row, slot, self.slots[slot].generation, &card);
        self.text = card;
    }

    /// The same, of the client whose line was read last. Tells its session.
    pub(super) fn read_session(&mut self, slot: u32) -> u64 {
        assert_eq!(self.state(slot), State::Handed);
        let line = core::mem::take(&mut self.line);
        let parsed = HibernateLine::parse(&line).unwrap_or_default();
        if !parsed.username.is_empty() {
            self.keep_card(slot, &parsed);
        }
        // A client without a session id is counted by its slot, until it is forgotten by age.
        let session = parsed.session.map_or(u64::from(slot), hash);
        self.line = line;
        session
    }

    /// Where the card lies that was kept for a client's next report.
    fn row(&self, slot: u32) -> Option<Row> {
        let (number, _) = self.slots[slot].bound();
        match self.state(slot) {
            State::Offered | State::Given => Some(Row::Conn(number)),
            State::Handed => Some(Row::Place(number)),
            _ => None,
        }
    }

    /// A client's line in the core's own buffer, without its end; give it back to `self.line`.
    /// Empty, which is no line, when its entry in the cold store is damaged.
    pub(super) fn lend_line(&mut self, slot: u32) -> Vec<u8> {
        assert_ne!(self.slots[slot].cold, crate::record::NIL, "only the living have words");
        assert!(self.line.capacity() > 0, "the buffer is lent out");
        let mut line = core::mem::take(&mut self.line);
        line.clear();
        assert!(line.is_empty());
        if self.cold.read_line(self.slots[slot].cold, &mut line) {
            for end in [b'\n', b'\r'] {
                line.pop_if(|byte| *byte == end);
            }
        }
        assert!(!line.ends_with(b"\n"), "one line");
        line
    }

    /// Formats into the core's own text buffer and lends it out; give it back to `self.text`.
    pub(super) fn write_text(&mut self, text: fmt::Arguments<'_>) -> Vec<u8> {
        assert!(self.text.capacity() > 0, "the buffer is lent out");
        let mut buffer = core::mem::take(&mut self.text);
        buffer.clear();
        buffer.write_fmt(text).expect("a Vec takes everything");
        buffer
    }
}

/// A number for a word; the same in every run.
pub(super) fn hash(word: &[u8]) -> u64 {
    assert!(!word.contains(&b'\t'), "one word");
    assert!(!word.contains(&b'\n'), "one word");
    let mut hasher = DefaultHasher::new();
    hasher.write(word);
    hasher.finish()
}

/// TAB-separated fields as they came, still escaped; a field beyond [`FIELD_BYTES_MAX`] is left
/// empty rather than cut, since a cut name would be another name.
fn write_card(parsed: &HibernateLine<'_>, bytes: &mut Vec<u8>) {
    let at = bytes.len();
    assert!(at + CARD_BYTES_MAX <= bytes.capacity());
    field(bytes, Some(parsed.username));
    field(bytes, parsed.session);
    field(bytes, parsed.mailbox);
    number(bytes, parsed.lip);
    number(bytes, parsed.lport);
    number(bytes, parsed.rip);
    number(bytes, parsed.rport);
    number(bytes, parsed.uid);
    number(bytes, parsed.gid);
    field(bytes, Some(parsed.log_prefix));
    field(bytes, parsed.stats);
    field(bytes, parsed.userdb_fields);
    bytes.pop();
    assert!(bytes.len() - at <= CARD_BYTES_MAX);
}

fn field(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    assert!(value.is_none_or(|value| !value.contains(&b'\t')), "split at TABs");
    let value = value.filter(|value| value.len() <= FIELD_BYTES_MAX);
    bytes.extend_from_slice(value.unwrap_or(b""));
    bytes.push(b'\t');
}

fn number(bytes: &mut Vec<u8>, value: Option<impl fmt::Display>) {
    if let Some(value) = value {
        write!(bytes, "{value}").expect("a Vec takes everything");
    }
    bytes.push(b'\t');
}

/// Cards leave this much of the arena to what is sent: a megabyte, more than a step can send.
pub(super) const CARDS_ROOM_BYTES: usize = (1 << 20) + CARD_BYTES_MAX;

const FIELD_BYTES_MAX: usize = 2048;
/// Six words and six numbers, each with its TAB.
pub(super) const CARD_BYTES_MAX: usize = 6 * (FIELD_BYTES_MAX + 1) + 6 * 48;
