//! The hibernated connection: 64 bytes, one cache line.
//!
//! Everything a *sleeping* client needs to be kept, timed, watched and found; what is only needed
//! to wake it lies in the cold store. Fixed layout, no pointer, no padding: the record is made to
//! lie in memory that outlives the process.

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::report::Goodbye;
use crate::state::State;
use crate::token::GENERATION_MASK;
use crate::wheel::TICK_MS;

/// One client. All links are slot indices, [`NIL`] where there is none.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Record {
    /// Wall clock of the hibernation, microseconds since the epoch.
    pub started_us: u64,
    /// Which tenant of the slot this is; 24 bits, see `token.rs`.
    pub generation: u32,
    /// Hash of the login name: finds a user's sleepers without a look at the cold store.
    pub user_hash: u32,
    /// The tick at which the wheel lets the slot expire; 0: not in the wheel.
    pub deadline: u32,
    /// Neighbours in the wheel.
    pub wheel_next: u32,
    pub wheel_prev: u32,
    /// The mailbox that the client watches.
    pub mailbox: u32,
    /// Neighbours among those who watch it. `mailbox_next` links free slots.
    pub mailbox_next: u32,
    pub mailbox_prev: u32,
    /// Its entry in the cold store.
    pub cold: u32,
    /// Bytes of the client that the engine consumed itself (DONE+IDLE) in this sleep.
    pub bytes_in: u32,
    /// Payload bytes that the engine wrote to the client in this sleep.
    pub bytes_out: u32,
    /// Seconds between keepalives; 0: none. At most 65,535 (18 hours).
    pub keepalive_secs: u16,
    /// `hash mod keepalive_secs`, see `keepalive.rs`.
    pub keepalive_phase: u16,
    /// [`Flag`]s.
    flags: u16,
    /// A [`crate::state::State`].
    pub state: u8,
    /// Input that decides nothing yet: a piece of `DONE CR`, up to the first zero. While the client
    /// is leaving: why.
    input: [u8; INPUT_MAX],
}

/// Facts about a client. Each is true *exactly when* its sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Flag {
    /// The kernel holds the recv, or its terminal completion is unread.
    Recv = 1,
    /// A cancel of the recv is in flight.
    RecvCancel = 1 << 1,
    /// A send is in flight.
    Send = 1 << 2,
    /// A poll of the kept notify descriptor is in flight.
    Notify = 1 << 3,
    /// A cancel of that poll is in flight.
    NotifyCancel = 1 << 4,
    /// The ring keeps a notify descriptor for this slot.
    Kept = 1 << 5,
    /// The mailbox changed and no worker knows yet.
    Changed = 1 << 6,
    /// Decided client input lies in the cold store.
    Input = 1 << 7,
    /// Output to the client is a multiplex stream (Dovecot 2.4.0 and later).
    Multiplex = 1 << 8,
    /// The multiplex channel has been selected in this sleep.
    Switched = 1 << 9,
    /// The client has to go; `input` says why. It goes at the next moment it is ours to end.
    Doomed = 1 << 10,
    /// The running command is IDLE.
    Idle = 1 << 11,
    /// The descriptor is a UNIX socket: a TLS login's socketpair.
    Unix = 1 << 12,
    /// Its stage is sleep: the epoll set hears it, not a recv of its own.
    Sunk = 1 << 13,
    /// The epoll set has an item of it.
    Item = 1 << 14,
    /// Its deadline is the end of its doze, not a keepalive.
    DozeEnds = 1 << 15,
}

impl Record {
    /// A fresh tenant with nothing in flight.
    pub fn new(generation: u32) -> Self {
        let mut record = Self::new_zeroed();
        record.generation = generation;
        for link in [&mut record.wheel_next, &mut record.wheel_prev, &mut record.cold] {
            *link = NIL;
        }
        for link in [&mut record.mailbox, &mut record.mailbox_next, &mut record.mailbox_prev] {
            *link = NIL;
        }
        record
    }

    pub fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u16 != 0
    }

    pub fn set(&mut self, flag: Flag) {
        self.flags |= flag as u16;
    }

    pub fn clear(&mut self, flag: Flag) {
        self.flags &= !(flag as u16);
    }

    /// True exactly when the kernel holds nothing of this client: it may be given away or closed.
    pub fn is_joined(&self) -> bool {
        self.flags & IN_FLIGHT == 0
    }

    /// Input that decides nothing yet.
    pub fn input(&self) -> &[u8] {
        assert!(!self.has(Flag::Doomed), "a doomed client's input bytes say why it goes");
        let end = self.input.iter().position(|byte| *byte == 0);
        &self.input[..end.unwrap_or(INPUT_MAX)]
    }

    /// Replaces it; at most [`INPUT_MAX`] bytes.
    pub fn set_input(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= INPUT_MAX, "only undecided input lies in the record");
        assert!(!self.has(Flag::Doomed), "a doomed client takes no input");
        assert!(!bytes.contains(&0), "a zero decides");
        self.input = [0; INPUT_MAX];
        self.input[..bytes.len()].copy_from_slice(bytes);
    }

    /// Names what its fate hangs on while it is offered and given (place and generation of the
    /// hibernate connection) or handed (place and number of the handoff). It is in no wheel then,
    /// so the wheel's links have room for it.
    pub fn bind(&mut self, place: u32, number: u32) {
        assert_eq!(self.deadline, 0, "the links are the wheel's");
        (self.wheel_prev, self.wheel_next) = (place, number);
    }

    /// What [`Record::bind`] was told last.
    pub fn bound(&self) -> (u32, u32) {
        (self.wheel_prev, self.wheel_next)
    }

    /// Since when it has been queued, milliseconds, rounded up to ticks. Such a client sleeps on
    /// no mailbox, so that link has room for it.
    pub fn queued_ms(&self) -> u64 {
        assert_eq!(self.mailbox, NIL, "the link is the mailbox's");
        u64::from(self.mailbox_prev) * TICK_MS
    }

    /// See [`Record::queued_ms`].
    pub fn set_queued_ms(&mut self, at_ms: u64) {
        assert_eq!(self.mailbox, NIL, "the link is the mailbox's");
        self.mailbox_prev = at_ms.div_ceil(TICK_MS) as u32;
    }

    /// True exactly when no part of it contradicts its layout, whoever wrote it.
    pub fn is_whole(&self) -> bool {
        let end = self.input.iter().position(|byte| *byte == 0).unwrap_or(INPUT_MAX);
        let is_free = self.state == State::Free as u8;
        usize::from(self.state) < State::ALL.len()
            && self.generation <= GENERATION_MASK
            && (self.has(Flag::Doomed) || self.input[end..].iter().all(|byte| *byte == 0))
            && is_free == (self.cold == NIL)
            && self.suits_state()
    }

    /// What `core/check.rs` demands in each state, as far as a record can tell.
    fn suits_state(&self) -> bool {
        let (is_doomed, is_timed) = (self.has(Flag::Doomed), self.deadline > 0);
        let is_watching = self.mailbox != NIL;
        let beats = self.keepalive_secs == 0 || self.keepalive_phase < self.keepalive_secs;
        beats
            && match State::from_code(self.state) {
                State::Free => self.is_joined() && !is_timed && !is_watching,
                State::Offered => {
                    self.is_joined() && !is_timed && !is_doomed && !self.has(Flag::Input)
                }
                State::Given => self.is_joined() && !is_timed && !self.has(Flag::Input),
                State::Asleep => !is_doomed,
                State::Queued | State::Joining => !is_doomed && !is_watching,
                State::Handed => {
                    self.is_joined() && !is_timed && !is_watching && !self.has(Flag::Kept)
                }
                State::Leaving => is_doomed && !is_watching,
            }
    }

    /// The client has to go. The first reason stays.
    pub fn doom(&mut self, why: Goodbye) {
        if self.has(Flag::Doomed) {
            return;
        }
        self.set_input(&[]);
        let (code, errno) = match why {
            Goodbye::Closed(errno) => (0, errno),
            Goodbye::WriteFailed(errno) => (1, errno),
            Goodbye::Kicked => (2, 0),
            Goodbye::Shutdown => (3, 0),
            Goodbye::Waited => (4, 0),
            Goodbye::Lost => (5, 0),
            Goodbye::Damaged => (6, 0),
        };
        let errno = (errno as u16).to_le_bytes();
        self.input = [code, errno[0], errno[1], 0, 0];
        self.set(Flag::Doomed);
    }

    /// Why it has to go.
    pub fn goodbye(&self) -> Goodbye {
        assert!(self.has(Flag::Doomed));
        let errno = i32::from(u16::from_le_bytes([self.input[1], self.input[2]]));
        match self.input[0] {
            0 => Goodbye::Closed(errno),
            1 => Goodbye::WriteFailed(errno),
            2 => Goodbye::Kicked,
            3 => Goodbye::Shutdown,
            4 => Goodbye::Waited,
            5 => Goodbye::Lost,
            _ => Goodbye::Damaged,
        }
    }

    /// True exactly when its reason is one that clients are told, and it has not been.
    pub fn owes_bye(&self) -> bool {
        let told = match self.goodbye() {
            Goodbye::Kicked | Goodbye::Shutdown | Goodbye::Waited | Goodbye::Damaged => true,
            Goodbye::Closed(_) | Goodbye::WriteFailed(_) | Goodbye::Lost => false,
        };
        told && self.input[3] == 0
    }

    /// BYE is said once: `true` the first time, for those who are told.
    pub fn take_bye(&mut self) -> bool {
        let owed = self.owes_bye();
        self.input[3] = 1;
        owed
    }
}

/// No slot, no block, no mailbox.
pub const NIL: u32 = u32::MAX;
/// Bytes of input that a record holds: the longest that decides nothing is `DONE CR`.
pub const INPUT_MAX: usize = 5;

const IN_FLIGHT: u16 = Flag::Recv as u16
    | Flag::RecvCancel as u16
    | Flag::Send as u16
    | Flag::Notify as u16
    | Flag::NotifyCancel as u16
    | Flag::Item as u16;

const _: () = assert!(size_of::<Record>() == 64);
const _: () = assert!(align_of::<Record>() == 64);
const _: () = assert!(offset_of!(Record, generation) == 8);
const _: () = assert!(offset_of!(Record, deadline) == 16);
const _: () = assert!(offset_of!(Record, cold) == 40);
const _: () = assert!(offset_of!(Record, flags) == 56);
const _: () = assert!(offset_of!(Record, input) == 59);

#[cfg(test)]
mod tests;
