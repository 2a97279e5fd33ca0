//! What a sleeping client is told in its sleep: keepalives, and the answer to DONE+IDLE.

use core::ops::Range;

use torpor_handoff::line::{HibernateLine, escape_into};

use super::Core;
use super::send::SendKind;
use crate::action::Actions;
use crate::keepalive::{self, STILL_HERE};
use crate::limits::TAG_BYTES_MAX;
use crate::planted::{Bug, planted};
use crate::record::Flag;
use crate::report::{Event as Said, Goodbye};
use crate::state::State;

impl Core {
    /// Answers DONE+IDLE; `false` when a worker has to. No mailbox is looked at: a change would
    /// have woken the client already.
    pub(super) fn answer(
        &mut self,
        slot: u32,
        all: &[u8],
        tag: Range<usize>,
        out: &mut Actions,
    ) -> bool {
        assert!(tag.end < all.len() && !tag.is_empty());
        let record = &self.slots[slot];
        let quiet = self.state(slot) == State::Asleep
            && !record.has(Flag::Changed)
            && !record.has(Flag::Send)
            && self.has_send_room();
        if !quiet {
            return false;
        }
        let line = self.lend_line(slot);
        // A damaged line has no tag that could be spoken.
        let old = HibernateLine::parse(&line).map_or(&b"\x03"[..], |parsed| parsed.tag);
        let old = if old.len() > 2 * TAG_BYTES_MAX { b"\x03" } else { old };
        let mut answer = core::mem::take(&mut self.input);
        answer.clear();
        torpor_handoff::line::unescape_into(&mut answer, old);
        let speakable = answer.len() <= TAG_BYTES_MAX
            && !answer.contains(&0x03)
            && (planted(Bug::TagKept) || self.retag(slot, &line, &all[tag]));
        if speakable {
            answer.extend_from_slice(b" OK Idle completed.\r\n+ idling\r\n");
            self.send(slot, SendKind::Answer, &answer, out);
            let record = &mut self.slots[slot];
            record.set_input(&[]);
            if !planted(Bug::InputUncounted) {
                record.bytes_in = record.bytes_in.saturating_add(all.len() as u32);
            }
            self.counters.idles_answered += 1;
            self.arm_beat(slot);
        }
        (self.line, self.input) = (line, answer);
        speakable
    }

    /// Writes the line anew with the tag of the IDLE that is now running; `false`, and nothing
    /// has changed, when there is no room for it.
    pub(super) fn retag(&mut self, slot: u32, line: &[u8], tag: &[u8]) -> bool {
        assert!(!tag.is_empty() && tag.len() <= TAG_BYTES_MAX);
        assert!(!line.is_empty(), "a damaged line has no tag");
        assert!(!line.contains(&b'\n'), "one line");
        assert!(!self.cold.has_output(self.slots[slot].cold), "output would be forgotten");
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        for (index, field) in line.split(|byte| *byte == b'\t').enumerate() {
            if index > 0 {
                text.push(b'\t');
            }
            if index >= 2 && field.starts_with(b"tag=") {
                text.extend_from_slice(b"tag=");
                escape_into(&mut text, tag);
            } else {
                text.extend_from_slice(field);
            }
        }
        text.push(b'\n');
        let room =
            text.len() <= self.limits.line_bytes_max as usize && self.cold_has_room(text.len());
        let entry = if room { self.cold.replace(self.slots[slot].cold, &text) } else { None };
        self.text = text;
        self.slots[slot].cold = entry.unwrap_or(self.slots[slot].cold);
        entry.is_some()
    }

    /// Times the next keepalive.
    pub(super) fn arm_beat(&mut self, slot: u32) {
        assert!(matches!(self.state(slot), State::Asleep | State::Queued | State::Joining));
        let record = &self.slots[slot];
        if record.keepalive_secs == 0 {
            return;
        }
        let secs = keepalive::next_secs(
            self.now.wall_us / 1_000_000,
            record.keepalive_phase,
            record.keepalive_secs,
        );
        let secs = if planted(Bug::BeatTwice) { secs.min(1) } else { secs };
        let at = self.now.mono_ms + secs * 1000;
        assert!(at > self.now.mono_ms, "a beat now, and again and again");
        self.wheel.arm(&mut self.slots, slot, at);
    }

    /// A keepalive is due, or the rest of a channel switch. A blocked client, or one whose output
    /// waits for a worker, skips the keepalive.
    pub(super) fn beat(&mut self, slot: u32, out: &mut Actions) {
        assert_eq!(self.slots[slot].deadline, 0, "it has just expired");
        let state = self.state(slot);
        if state == State::Leaving {
            return self.try_depart(slot, out);
        }
        if let Some(place) = self.stalled(slot) {
            return self.put(place, out);
        }
        assert!(matches!(state, State::Asleep | State::Queued | State::Joining));
        let record = &self.slots[slot];
        let blocked = record.has(Flag::Send)
            || state == State::Joining
            || (state == State::Queued && self.cold.has_output(record.cold));
        if !blocked && !self.has_send_room() {
            self.wheel.arm(&mut self.slots, slot, self.now.mono_ms + crate::wheel::TICK_MS);
            return;
        }
        if !blocked {
            self.send(slot, SendKind::Keepalive, STILL_HERE, out);
        }
        self.arm_beat(slot);
    }

    /// Reports that a client will not be heard of again.
    pub(super) fn report_goodbye(&mut self, slot: u32, why: Goodbye, out: &mut Actions) {
        assert!(matches!(self.state(slot), State::Leaving | State::Handed));
        assert!(self.slots[slot].is_joined());
        self.counters.disconnected += 1;
        self.counters.kicked += u64::from(why == Goodbye::Kicked);
        self.counters.lost += u64::from(why == Goodbye::Lost);
        self.counters.given_up += u64::from(why == Goodbye::Waited);
        self.report(Said::Disconnected(why), slot, out);
    }
}
