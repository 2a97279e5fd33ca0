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
use crate::state::{Event, State};
use crate::token::{Kind, Token};
use crate::wheel::TICK_MS;

/// A send in flight, or one that waits to finish its switch. The payload is kept, so that the
/// rest of a short write is not lost.
pub(super) struct Send {
    slot: u32,
    kind: SendKind,
    begun_ms: u64,
    /// Bytes of the channel switch that have still to go before the payload.
    switch_left: usize,
    /// True exactly when the ring has none of it: it waits for its next try.
    is_stalled: bool,
    /// True exactly when it counts among [`Core::stalled_sends`], and not among those in flight.
    is_slow: bool,
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
    /// Sends to a client. The caller has seen that there is room.
    pub(super) fn send(&mut self, slot: u32, kind: SendKind, text: &[u8], out: &mut Actions) {
        assert!(self.has_send_room() && !text.is_empty());
        let record = &mut self.slots[slot];
        assert!(!record.has(Flag::Send), "one send at a time");
        record.set(Flag::Send);
        let switches = record.has(Flag::Multiplex) && !record.has(Flag::Switched);
        let switch_left = if switches { SWITCH_BYTES } else { 0 };
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        payload[..text.len()].copy_from_slice(text);
        let place = self.sends.insert(Send {
            slot,
            kind,
            begun_ms: self.now.mono_ms,
            switch_left,
            is_stalled: true,
            is_slow: false,
            payload,
            payload_bytes: text.len(),
        });
        self.put(place, out);
    }

    /// Gives what has still to go to the ring.
    pub(super) fn put(&mut self, place: usize, out: &mut Actions) {
        let send = &mut self.sends[place];
        assert!(send.is_stalled, "it is with the ring already");
        send.is_stalled = false;
        let record = &self.slots[send.slot];
        let payload = &send.payload[..send.payload_bytes];
        let text = if record.has(Flag::Multiplex) {
            let at = out.bytes.len();
            assert!(out.room() >= framed_bytes_max(payload.len()));
            let switches = send.switch_left > 0;
            frame(&mut out.bytes, payload, switches);
            let gone = if switches { SWITCH_BYTES - send.switch_left } else { 0 };
            Span { at: (at + gone) as u32, count: (out.bytes.len() - at - gone) as u32 }
        } else {
            out.text(payload)
        };
        let token = Token::new(Kind::ClientSend, record.generation, place as u32);
        out.ring(Op::SendClient { token, slot: send.slot, text });
    }

    /// True when one more send may be in flight. Those that finish their switch hold up nobody.
    pub(super) fn has_send_room(&self) -> bool {
        let in_flight = self.sends.len() - self.stalled_sends as usize;
        assert!(in_flight <= self.limits.sends_in_flight_max as usize);
        in_flight < self.limits.sends_in_flight_max as usize
    }

    pub(super) fn client_sent(&mut self, done: &Completion, out: &mut Actions) {
        let place = done.token.index() as usize;
        let send = &mut self.sends[place];
        let slot = send.slot;
        assert!(self.slots.is_current(slot, done.token.generation()), "a send outlived its slot");
        assert!(self.slots[slot].has(Flag::Send) && !done.more);
        let written = usize::try_from(done.result).unwrap_or(0);
        let switch_written = written.min(send.switch_left);
        send.switch_left -= switch_written;
        let is_half = (1..SWITCH_BYTES).contains(&send.switch_left);
        if is_half && (done.result > 0 || is_passing(-done.result)) {
            return self.stall(place, out);
        }
        let send = self.take_send(place);
        if switch_written > 0 {
            self.slots[slot].set(Flag::Switched);
        }
        self.sent(&send, written - switch_written, done.result, out);
        let is_ours = matches!(self.state(slot), State::Asleep | State::Queued | State::Joining);
        if send.is_slow && is_ours {
            // The wheel was busy with the switch.
            self.arm_beat(slot);
        }
        self.joined(slot, out);
    }

    fn take_send(&mut self, place: usize) -> Send {
        let send = self.sends.remove(place);
        assert!(self.slots[send.slot].has(Flag::Send));
        self.slots[send.slot].clear(Flag::Send);
        self.stalled_sends -= u32::from(send.is_slow);
        send
    }

    /// So much of the payload is out; what follows from that.
    fn sent(&mut self, send: &Send, written: usize, result: i32, out: &mut Actions) {
        assert!(written <= send.payload_bytes, "0x03 is never sent from here");
        let slot = send.slot;
        assert!(!self.slots[slot].has(Flag::Send));
        self.slots[slot].bytes_out += written as u32;
        self.counters.output_bytes += written as u64;
        let rest = &send.payload[written..send.payload_bytes];
        match result {
            _ if rest.is_empty() => {
                self.counters.keepalives += u64::from(send.kind == SendKind::Keepalive);
            }
            result if result < 0 && !is_passing(-result) => {
                self.hang_up(slot, Goodbye::WriteFailed(-result), out);
            }
            _ if written == 0 && send.kind == SendKind::Keepalive => {
                self.counters.keepalives_blocked += 1;
            }
            _ => self.cut(slot, send.kind, rest, out),
        }
    }

    /// Half a channel switch is out: tried again, until the client has had its time.
    fn stall(&mut self, place: usize, out: &mut Actions) {
        let (slot, begun_ms) = (self.sends[place].slot, self.sends[place].begun_ms);
        assert!(self.slots[slot].has(Flag::Send) && begun_ms <= self.now.mono_ms);
        self.sends[place].is_stalled = true;
        if self.state(slot) == State::Leaving {
            return self.try_depart(slot, out);
        }
        let is_new = !core::mem::replace(&mut self.sends[place].is_slow, true);
        self.stalled_sends += u32::from(is_new);
        let are_many = self.stalled_sends > STALLED_MAX;
        if are_many || self.now.mono_ms - begun_ms > SWITCH_MS_MAX {
            self.slots[slot].doom(Goodbye::WriteFailed(libc::EAGAIN));
            return self.end(slot, out);
        }
        self.wheel.arm(&mut self.slots, slot, self.now.mono_ms + TICK_MS);
    }

    /// Where this client's send waits to finish its switch, if it does.
    pub(super) fn stalled(&self, slot: u32) -> Option<usize> {
        if !self.slots[slot].has(Flag::Send) {
            return None;
        }
        let found = self.sends.iter().find(|(_, send)| send.slot == slot && send.is_stalled);
        found.map(|(place, _)| place)
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

/// `tag OK Idle completed. CRLF + idling CRLF` with the longest tag.
const PAYLOAD_BYTES_MAX: usize = 160;
/// The switch to the IMAP channel, `03 FE 00 00`.
const SWITCH_BYTES: usize = 4;
/// How long a client may take over the rest of a switch, before it is hung up on.
const SWITCH_MS_MAX: u64 = 10_000;
/// Clients that may be waited for in this way at once; who comes to it then is hung up on.
pub(super) const STALLED_MAX: u32 = 64;

const _: () = assert!(TAG_BYTES_MAX + 31 <= PAYLOAD_BYTES_MAX);
