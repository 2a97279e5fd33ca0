//! Sends to clients: without ever waiting, one at a time, and nothing of a short one is lost.
//!
//! The rest of a line that was cut short goes to the worker, which writes it first
//! (`client_output`; Dovecot 2.4.1 frames it for a multiplexed client itself). The switch of the
//! multiplex channel does not: a worker begins with one of its own, and after half of ours that
//! would be read as data. So the engine goes on with it until the client has taken the rest, and
//! the send counts as in flight until then: nothing else is written, no worker is asked.

use torpor_handoff::line::{frame, framed_bytes_max};
use torpor_handoff::queue::Class;

use super::Core;
use crate::action::Actions;
use crate::limits::TAG_BYTES_MAX;
use crate::planted::{Bug, planted};
use crate::record::Flag;
use crate::report::Goodbye;
use crate::ring::{Completion, Op, Span};
use crate::sends::{PAYLOAD_BYTES_MAX, STALLED_MAX, SWITCH_BYTES, Send, SendKind};
use crate::state::{Event, State};
use crate::token::{Kind, Token};
use crate::wheel::TICK_MS;

impl Core {
    /// Sends to a client. The caller has seen that there is room.
    pub(super) fn send(&mut self, slot: u32, kind: SendKind, text: &[u8], out: &mut Actions) {
        assert!(self.has_send_room() && !text.is_empty());
        let record = &mut self.slots[slot];
        assert!(!record.has(Flag::Send), "one send at a time");
        record.set(Flag::Send);
        let switches = record.has(Flag::Multiplex) && !record.has(Flag::Switched);
        let switch_left = if switches { SWITCH_BYTES as u8 } else { 0 };
        let send = Send::new(slot, kind, self.now.mono_ms, switch_left, text);
        let place = self.sends.insert(send).expect("there was room");
        self.put(place, out);
    }

    /// Gives what has still to go to the ring.
    pub(super) fn put(&mut self, place: u32, out: &mut Actions) {
        assert!(self.sends[place].is_stalled(), "it is with the ring already");
        self.sends.set_stalled(place, false);
        let send = &self.sends[place];
        let (record, payload) = (&self.slots[send.slot()], send.payload());
        let text = if record.has(Flag::Multiplex) {
            let at = out.bytes.len();
            assert!(out.room() >= framed_bytes_max(payload.len()));
            let switches = send.switch_left > 0;
            frame(&mut out.bytes, payload, switches);
            let gone = if switches { SWITCH_BYTES - usize::from(send.switch_left) } else { 0 };
            Span { at: (at + gone) as u32, count: (out.bytes.len() - at - gone) as u32 }
        } else {
            out.text(payload)
        };
        let token = Token::new(Kind::ClientSend, record.generation, place);
        out.ring(Op::SendClient { token, slot: send.slot(), text });
    }

    /// True when one more send may be in flight. Those that finish their switch hold up nobody.
    pub(super) fn has_send_room(&self) -> bool {
        let in_flight = self.sends.len() - self.stalled_sends;
        assert!(in_flight <= self.limits.sends_in_flight_max);
        in_flight < self.limits.sends_in_flight_max
    }

    pub(super) fn client_sent(&mut self, done: &Completion, out: &mut Actions) {
        let place = done.token.index();
        let slot = self.sends[place].slot();
        assert!(self.slots.is_current(slot, done.token.generation()), "a send outlived its slot");
        assert!(self.slots[slot].has(Flag::Send) && !done.more);
        let written = usize::try_from(done.result).unwrap_or(0);
        let send = &mut self.sends[place];
        let switch_written = written.min(send.switch_left.into());
        send.switch_left -= switch_written as u8;
        let is_half = (1..SWITCH_BYTES).contains(&send.switch_left.into());
        if is_half && (done.result > 0 || is_passing(-done.result)) {
            return self.stall(place, out);
        }
        let send = self.take_send(place);
        if switch_written > 0 {
            self.slots[slot].set(Flag::Switched);
        }
        self.sent(&send, written - switch_written, done.result, out);
        let is_ours = matches!(self.state(slot), State::Asleep | State::Queued | State::Joining);
        if send.is_slow() && is_ours {
            // The wheel was busy with the switch.
            self.arm_beat(slot);
        }
        self.joined(slot, out);
    }

    pub(super) fn take_send(&mut self, place: u32) -> Send {
        let send = self.sends.remove(place);
        assert!(self.slots[send.slot()].has(Flag::Send));
        self.slots[send.slot()].clear(Flag::Send);
        self.stalled_sends -= u32::from(send.is_slow());
        send
    }

    /// So much of the payload is out; what follows from that.
    fn sent(&mut self, send: &Send, written: usize, result: i32, out: &mut Actions) {
        assert!(written <= send.payload().len(), "0x03 is never sent from here");
        let (slot, kind) = (send.slot(), send.kind());
        assert!(!self.slots[slot].has(Flag::Send));
        let record = &mut self.slots[slot];
        record.bytes_out = record.bytes_out.saturating_add(written as u32);
        self.counters.output_bytes += written as u64;
        let rest = &send.payload()[written..];
        match result {
            _ if rest.is_empty() => {
                self.counters.keepalives += u64::from(kind == SendKind::Keepalive);
            }
            result if result < 0 && !is_passing(-result) => {
                self.hang_up(slot, Goodbye::WriteFailed(-result), out);
            }
            _ if written == 0 && kind == SendKind::Keepalive => {
                self.counters.keepalives_blocked += 1;
            }
            _ => self.cut(slot, kind, rest, out),
        }
    }

    /// Half a channel switch is out: tried again, until the client has had its time.
    fn stall(&mut self, place: u32, out: &mut Actions) {
        let (slot, begun_ms) = (self.sends[place].slot(), self.sends[place].begun_ms);
        assert!(self.slots[slot].has(Flag::Send) && begun_ms <= self.now.mono_ms);
        self.sends.set_stalled(place, true);
        if self.state(slot) == State::Leaving {
            return self.try_depart(slot, out);
        }
        self.stalled_sends += u32::from(!self.sends[place].is_slow());
        self.sends[place].set_slow();
        let are_many = self.stalled_sends > STALLED_MAX;
        if are_many || self.now.mono_ms - begun_ms > SWITCH_MS_MAX {
            self.slots[slot].doom(Goodbye::WriteFailed(libc::EAGAIN));
            return self.end(slot, out);
        }
        self.wheel.arm(&mut self.slots, slot, self.now.mono_ms + TICK_MS);
    }

    /// Where this client's send waits to finish its switch, if it does.
    pub(super) fn stalled(&self, slot: u32) -> Option<u32> {
        self.slots[slot].has(Flag::Send).then(|| self.sends.stalled(slot)).flatten()
    }

    /// The client leaves: who has heard half a channel switch can be told nothing.
    pub(super) fn give_up_stalled(&mut self, slot: u32) {
        assert_eq!(self.state(slot), State::Leaving);
        if let Some(place) = self.stalled(slot) {
            self.take_send(place);
            self.slots[slot].take_bye();
        }
    }

    /// A write was cut short: the worker has to write the rest before anything else.
    fn cut(&mut self, slot: u32, kind: SendKind, rest: &[u8], out: &mut Actions) {
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
}

/// Errors of a send that speak of the host's moment, not of the client's end.
fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM | libc::ECANCELED)
}

/// How long a client may take over the rest of a switch, before it is hung up on.
const SWITCH_MS_MAX: u64 = 10_000;

const _: () = assert!(TAG_BYTES_MAX + 31 <= PAYLOAD_BYTES_MAX);
