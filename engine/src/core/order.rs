//! Orders of the operator. Walks over all slots are paged.

use std::io::Write as _;

use super::accept::Accept;
use super::card::CARDS_ROOM_BYTES;
use super::{Core, card};
use crate::action::{Action, Actions};
use crate::command::{Answer, Command, PAGE_CARDS, PAGE_SLOTS};
use crate::planted::{Bug, planted};
use crate::report::Goodbye;
use crate::ring::Span;
use crate::state::State;

/// An ordered end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub ticket: u64,
    /// Slots below it have been told.
    pub cursor: u32,
    /// True exactly when the answer has been given.
    pub answered: bool,
}

impl Core {
    pub(super) fn command(&mut self, command: Command, out: &mut Actions) {
        match command {
            Command::Who { ticket, cursor, user } => {
                self.who(ticket, cursor, user.as_deref(), out);
            }
            Command::Kick { ticket, cursor, user, session } => {
                self.kick(ticket, cursor, &user, session.as_deref(), out);
            }
            Command::Reload { ticket, knobs } => {
                knobs.check().expect("the caller checks the knobs");
                self.knobs = knobs;
                answer(ticket, None, 0, Span::default(), out);
            }
            Command::Relisten { ticket } => {
                self.end_accept(out);
                answer(ticket, None, 0, Span::default(), out);
            }
            Command::Stop { ticket } => {
                if self.stop.is_none() {
                    self.stop = Some(Stop { ticket, cursor: 0, answered: false });
                    self.end_accept(out);
                    self.refuse_all(out);
                }
            }
        }
    }

    /// One page of cards. Escaped names are compared as they came.
    fn who(&mut self, ticket: u64, cursor: u32, user: Option<&[u8]>, out: &mut Actions) {
        assert!(user.is_none_or(|user| !user.contains(&b'\t')), "escaped as in the line");
        let mut slot = cursor;
        let page_end = self.slots.end().min(cursor.saturating_add(PAGE_SLOTS));
        let (at, mut count) = (out.bytes.len(), 0);
        assert!(page_end <= self.slots.capacity());
        while slot < page_end && count < PAGE_CARDS {
            if self.is_visible(slot) && user.is_none_or(|user| self.is_user(slot, user)) {
                let state = self.state(slot);
                let record = &self.slots[slot];
                let (generation, started_us) = (record.generation, record.started_us);
                if out.room() < CARDS_ROOM_BYTES {
                    break;
                }
                write!(out.bytes, "{slot}\t{generation}\t{state:?}\t{started_us}\t")
                    .expect("a Vec takes everything");
                self.card(slot, out);
                out.bytes.push(b'\n');
                count += 1;
            }
            slot += 1;
        }
        let text = Span { at: at as u32, count: (out.bytes.len() - at) as u32 };
        let more = (slot < self.slots.end()).then_some(slot);
        answer(ticket, more, count, text, out);
    }

    /// BYE to one page of a user's sleepers.
    fn kick(
        &mut self,
        ticket: u64,
        cursor: u32,
        user: &[u8],
        session: Option<&[u8]>,
        out: &mut Actions,
    ) {
        assert!(!user.is_empty(), "nobody is not everybody");
        assert!(session.is_none_or(|session| !session.is_empty()));
        let mut slot = cursor;
        let page_end = self.slots.end().min(cursor.saturating_add(PAGE_SLOTS));
        let mut count = 0;
        while slot < page_end && count < PAGE_CARDS {
            if self.is_visible(slot)
                && (self.is_user(slot, user) || planted(Bug::KickHitsAll))
                && session.is_none_or(|session| self.is_session(slot, session))
                && self.dismiss(slot, Goodbye::Kicked, out)
            {
                count += 1;
            }
            slot += 1;
        }
        let more = (slot < self.slots.end()).then_some(slot);
        answer(ticket, more, count, Span::default(), out);
    }

    /// A bounded number of good-byes a step; at the end the answer, and the end.
    pub(super) fn stop_some(&mut self, out: &mut Actions) {
        assert!(self.stop.is_none() || self.accept != Accept::Armed, "still open while ending");
        let Some(mut stop) = self.stop else { return };
        let page_end = self.slots.end().min(stop.cursor.saturating_add(PAGE_CARDS));
        for slot in stop.cursor..page_end {
            self.dismiss(slot, Goodbye::Shutdown, out);
        }
        assert!(stop.cursor <= page_end, "the walk goes forward");
        stop.cursor = page_end;
        self.busy |= stop.cursor < self.slots.end();
        let empty = self.slots.used() == 0 && self.conns.is_empty();
        let empty = empty && self.mailboxes.count() == 0;
        if empty && self.accept == Accept::Off && !stop.answered {
            stop.answered = true;
            answer(stop.ticket, None, 0, Span::default(), out);
            out.push(Action::Stopped);
        }
        self.stop = Some(stop);
    }

    /// Ours to speak of: not those who are still their worker's, nor those on their way out.
    fn is_visible(&self, slot: u32) -> bool {
        assert!(slot < self.slots.capacity());
        assert!(slot < self.slots.end());
        !matches!(self.state(slot), State::Free | State::Offered | State::Leaving)
    }

    fn is_user(&mut self, slot: u32, user: &[u8]) -> bool {
        assert!(self.is_visible(slot), "not ours to look at");
        self.slots[slot].user_hash == card::hash(user) as u32 && self.field_is(slot, 0, user)
    }

    fn is_session(&mut self, slot: u32, session: &[u8]) -> bool {
        assert!(self.is_visible(slot), "not ours to look at");
        assert!(!session.is_empty());
        self.line = self.lend_line(slot);
        let mut fields = self.line.split(|byte| *byte == b'\t').skip(2);
        fields.any(|field| field.strip_prefix(b"session=") == Some(session))
    }

    fn field_is(&mut self, slot: u32, index: usize, word: &[u8]) -> bool {
        assert!(index < 2, "positional");
        assert!(!word.contains(&b'\t'), "one word");
        assert!(self.is_visible(slot), "not ours to look at");
        self.line = self.lend_line(slot);
        self.line.split(|byte| *byte == b'\t').nth(index) == Some(word)
    }
}

fn answer(ticket: u64, cursor: Option<u32>, count: u32, text: Span, out: &mut Actions) {
    assert!(count <= PAGE_CARDS);
    assert!((text.at + text.count) as usize <= out.bytes.len());
    out.push(Action::Answer(Answer { ticket, cursor, count, text }));
}
