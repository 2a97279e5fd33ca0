//! What a sleeping client is told in its sleep: keepalives, and the answer to DONE+IDLE.

use core::ops::Range;

use torpor_handoff::line::{HibernateLine, escape_into};

use super::Core;
use crate::action::Actions;
use crate::keepalive::{self, STILL_HERE};
use crate::limits::TAG_BYTES_MAX;
use crate::planted::{Bug, planted};
use crate::record::Flag;
use crate::report::{Event as Said, Goodbye};
use crate::sends::SendKind;
use crate::state::State;
use crate::wheel::TICK_MS;

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

    /// Times what is due next: the end of a doze that begins now, or the next keepalive.
    pub(super) fn arm_beat(&mut self, slot: u32) {
        assert!(matches!(self.state(slot), State::Asleep | State::Queued | State::Joining));
        let beat = self.next_beat_ms(slot, self.now.mono_ms);
        assert!(beat.is_none_or(|beat| beat > self.now.mono_ms), "and again and again");
        self.arm_first(slot, beat);
    }

    /// The same, without losing the keepalive that is timed, even if its time has just come.
    pub(super) fn arm_beat_again(&mut self, slot: u32) {
        assert!(matches!(self.state(slot), State::Asleep | State::Queued));
        assert!(self.is_heard(slot));
        match u64::from(self.slots[slot].deadline) * TICK_MS {
            0 => self.arm_beat(slot),
            due_ms => self.arm_first(slot, self.timed_beat_ms(slot, due_ms)),
        }
    }

    /// The keepalive that a deadline stands for, or that comes after the end of a doze. It lies
    /// there, and no other in the second before: a doze takes a second at least.
    fn timed_beat_ms(&self, slot: u32, due_ms: u64) -> Option<u64> {
        assert!(due_ms >= DOZE_MS_MIN, "clocks begin later");
        assert!(due_ms.is_multiple_of(TICK_MS));
        match self.slots[slot].has(Flag::DozeEnds) {
            true => self.next_beat_ms(slot, due_ms - 1000),
            false => Some(due_ms),
        }
    }

    fn arm_first(&mut self, slot: u32, beat: Option<u64>) {
        assert!(!self.slots[slot].has(Flag::Doomed), "it is told BYE, if anything");
        let dozes = self.is_heard(slot) && !self.slots[slot].has(Flag::Sunk);
        let doze = dozes.then(|| self.now.mono_ms + self.knobs.doze_ms.max(DOZE_MS_MIN));
        let record = &mut self.slots[slot];
        record.clear(Flag::DozeEnds);
        if doze.is_some_and(|doze| beat.is_none_or(|beat| doze < beat)) {
            record.set(Flag::DozeEnds);
        }
        match [doze, beat].into_iter().flatten().min() {
            Some(at) => self.wheel.arm(&mut self.slots, slot, at),
            None => self.wheel.disarm(&mut self.slots, slot),
        }
    }

    /// When its first keepalive after `from_ms` is due, if it has any.
    fn next_beat_ms(&self, slot: u32, from_ms: u64) -> Option<u64> {
        let record = &self.slots[slot];
        assert!(from_ms.abs_diff(self.now.mono_ms) <= DOZE_MS_MAX, "near to now");
        if record.keepalive_secs == 0 {
            return None;
        }
        let away_us = (from_ms as i64 - self.now.mono_ms as i64) * 1000;
        let secs = keepalive::next_secs(
            self.now.wall_us.saturating_add_signed(away_us) / 1_000_000,
            record.keepalive_phase,
            record.keepalive_secs,
        );
        let secs = if planted(Bug::BeatTwice) { secs.min(1) } else { secs };
        Some(from_ms + secs * 1000)
    }

    /// A keepalive is due, or the rest of a channel switch, or a doze is over; a keepalive ends a
    /// doze, too. A blocked client, or one whose output waits for a worker, skips the keepalive.
    pub(super) fn beat(&mut self, slot: u32, due_ms: u64, out: &mut Actions) {
        assert_eq!(self.slots[slot].deadline, 0, "it has just expired");
        let state = self.state(slot);
        if state == State::Leaving {
            return self.try_depart(slot, out);
        }
        if let Some(place) = self.stalled(slot) {
            return self.put(place, out);
        }
        assert!(matches!(state, State::Asleep | State::Queued | State::Joining));
        if self.is_heard(slot) && !self.slots[slot].has(Flag::Sunk) {
            self.sink(slot, out);
        }
        if self.slots[slot].has(Flag::DozeEnds) {
            return self.arm_first(slot, self.timed_beat_ms(slot, due_ms));
        }
        let record = &self.slots[slot];
        let blocked = record.has(Flag::Send)
            || state == State::Joining
            || (state == State::Queued && self.cold.has_output(record.cold));
        if !blocked && !self.has_send_room() {
            self.wheel.arm(&mut self.slots, slot, self.now.mono_ms + TICK_MS);
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
        self.counters.dismissed += u64::from(why == Goodbye::Shutdown);
        self.counters.lost += u64::from(why == Goodbye::Lost);
        self.counters.given_up += u64::from(why == Goodbye::Waited);
        self.report(Said::Disconnected(why), slot, out);
    }
}

/// A client that was looked at, and one that the epoll set has refused, dozes for this long at
/// least, whatever `doze_ms` says.
const DOZE_MS_MIN: u64 = 1000;
/// The longest doze that may be asked for, and a stall of the host on top.
const DOZE_MS_MAX: u64 = 2 * 86_400_000;
