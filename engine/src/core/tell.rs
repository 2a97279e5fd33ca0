//! What a sleeping client is told in its sleep: keepalives, and the answer to DONE+IDLE.

use core::ops::Range;

use torpor_handoff::line::{HibernateLine, escape_into, frame, framed_bytes_max};
use torpor_handoff::queue::Class;

use super::Core;
use crate::action::Actions;
use crate::keepalive::{self, STILL_HERE};
use crate::limits::TAG_BYTES_MAX;
use crate::planted::{Bug, planted};
use crate::record::Flag;
use crate::report::{Event as Said, Goodbye};
use crate::ring::{Completion, Op};
use crate::state::{Event, State};
use crate::token::{Kind, Token};

/// A send in flight. The payload is kept, so that the rest of a short write is not lost.
pub(super) struct Send {
    slot: u32,
    kind: SendKind,
    /// True exactly when the write begins with the switch of the multiplex channel.
    switching: bool,
    payload: [u8; PAYLOAD_BYTES_MAX],
    payload_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendKind {
    Keepalive,
    /// The answer to DONE+IDLE.
    Answer,
    Bye,
}

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
        let mut line = core::mem::take(&mut self.line);
        line.clear();
        self.cold.read_line(record.cold, &mut line);
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let parsed = HibernateLine::parse(bytes).expect("a line in the store was parsed before");
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        torpor_handoff::line::unescape_into(&mut text, parsed.tag);
        let speakable = text.len() <= TAG_BYTES_MAX && !text.contains(&0x03);
        if speakable {
            text.extend_from_slice(b" OK Idle completed.\r\n+ idling\r\n");
            self.send(slot, SendKind::Answer, &text, out);
            if !planted(Bug::TagKept) {
                self.retag(slot, bytes, &all[tag], &mut text);
            }
            let record = &mut self.slots[slot];
            record.set_input(&[]);
            if !planted(Bug::InputUncounted) {
                record.bytes_in = record.bytes_in.saturating_add(all.len() as u32);
            }
            self.counters.idles_answered += 1;
            self.arm_beat(slot);
        }
        (self.line, self.text) = (line, text);
        speakable
    }

    /// Writes the line anew with the tag of the IDLE that is now running.
    pub(super) fn retag(&mut self, slot: u32, line: &[u8], tag: &[u8], text: &mut Vec<u8>) {
        assert!(!tag.is_empty() && tag.len() <= TAG_BYTES_MAX);
        assert!(!self.cold.has_output(self.slots[slot].cold), "output would be forgotten");
        text.clear();
        for (index, field) in line.split(|byte| *byte == b'\t').enumerate() {
            if index > 0 {
                text.push(b'\t');
            }
            if index >= 2 && field.starts_with(b"tag=") {
                text.extend_from_slice(b"tag=");
                escape_into(text, tag);
            } else {
                text.extend_from_slice(field);
            }
        }
        text.push(b'\n');
        self.cold.close(self.slots[slot].cold);
        let chain = self.cold.open().expect("the blocks just given back");
        assert!(self.cold.append_line(chain, text), "blocks for a longer tag are promised");
        self.slots[slot].cold = chain;
    }

    /// Sends to a client without ever waiting. The caller has seen that there is room.
    pub(super) fn send(&mut self, slot: u32, kind: SendKind, payload: &[u8], out: &mut Actions) {
        assert!(self.has_send_room() && !payload.is_empty());
        let record = &mut self.slots[slot];
        assert!(!record.has(Flag::Send), "one send at a time");
        record.set(Flag::Send);
        let switching = record.has(Flag::Multiplex) && !record.has(Flag::Switched);
        let mut kept = [0; PAYLOAD_BYTES_MAX];
        kept[..payload.len()].copy_from_slice(payload);
        let payload_bytes = payload.len();
        let text = if record.has(Flag::Multiplex) {
            let at = out.bytes.len();
            assert!(out.room() >= framed_bytes_max(payload_bytes));
            frame(&mut out.bytes, payload, switching);
            crate::ring::Span { at: at as u32, count: (out.bytes.len() - at) as u32 }
        } else {
            out.text(payload)
        };
        let send = Send { slot, kind, switching, payload: kept, payload_bytes };
        let place = self.sends.insert(send);
        let generation = self.slots[slot].generation;
        let token = Token::new(Kind::ClientSend, generation, place as u32);
        out.ring(Op::SendClient { token, slot, text });
    }

    /// True when one more send may be in flight.
    pub(super) fn has_send_room(&self) -> bool {
        assert!(self.sends.len() <= self.limits.sends_in_flight_max as usize);
        self.sends.len() < self.limits.sends_in_flight_max as usize
    }

    pub(super) fn client_sent(&mut self, done: &Completion, out: &mut Actions) {
        let send = self.sends.remove(done.token.index() as usize);
        let slot = send.slot;
        assert!(self.slots.is_current(slot, done.token.generation()), "a send outlived its slot");
        assert!(self.slots[slot].has(Flag::Send) && !done.more);
        self.slots[slot].clear(Flag::Send);
        let switch_bytes = if send.switching { SWITCH_BYTES } else { 0 };
        let written = usize::try_from(done.result).unwrap_or(0);
        if send.switching && written >= switch_bytes {
            self.slots[slot].set(Flag::Switched);
        }
        let payload_written = written.saturating_sub(switch_bytes);
        assert!(payload_written <= send.payload_bytes, "0x03 is never sent from here");
        self.slots[slot].bytes_out += payload_written as u32;
        self.counters.output_bytes += payload_written as u64;
        let rest = payload_written..send.payload_bytes;
        match done.result {
            _ if rest.is_empty() => {
                self.counters.keepalives += u64::from(send.kind == SendKind::Keepalive);
            }
            result if result < 0 && !is_passing(-result) => {
                self.hang_up(slot, Goodbye::WriteFailed(-result), out);
            }
            _ if written > 0 && written < switch_bytes => {
                // Half a channel switch: no worker could speak to this client any more.
                self.slots[slot].doom(Goodbye::WriteFailed(libc::EAGAIN));
                self.end(slot, out);
            }
            _ if written == 0 && send.kind == SendKind::Keepalive => {
                self.counters.keepalives_blocked += 1;
            }
            _ => self.cut(slot, send.kind, &send.payload[rest], out),
        }
        self.joined(slot, out);
    }

    /// A write was cut short: the worker has to write the rest before anything else.
    pub(super) fn cut(&mut self, slot: u32, kind: SendKind, rest: &[u8], out: &mut Actions) {
        assert!(!rest.is_empty());
        if self.state(slot) == State::Leaving {
            // It does not listen, and half a line of ours must not run into a BYE.
            self.slots[slot].take_bye();
            return;
        }
        if planted(Bug::RestDropped) {
            return;
        }
        assert_ne!(self.state(slot), State::Handed, "sends are joined before");
        let kept = self.cold.set_output(self.slots[slot].cold, rest);
        assert!(kept, "blocks for output are promised to every client");
        let class = if kind == SendKind::Answer { Class::Input } else { Class::Change };
        self.wake(slot, Event::Cut, class, out);
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

    /// A keepalive is due. A blocked client, or one whose output waits for a worker, skips it.
    pub(super) fn beat(&mut self, slot: u32, out: &mut Actions) {
        assert_eq!(self.slots[slot].deadline, 0, "it has just expired");
        let state = self.state(slot);
        if state == State::Leaving {
            return self.try_depart(slot, out);
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

/// Errors of a send that speak of the host's moment, not of the client's end.
fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM | libc::ECANCELED)
}

/// `tag OK Idle completed. CRLF + idling CRLF` with the longest tag.
const PAYLOAD_BYTES_MAX: usize = 160;
/// The switch to the IMAP channel, `03 FE 00 00`.
const SWITCH_BYTES: usize = 4;

const _: () = assert!(TAG_BYTES_MAX + 31 <= PAYLOAD_BYTES_MAX);
