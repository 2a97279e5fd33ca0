//! How a sleeping client is heard. The longer it is silent, the less that costs the kernel.
//!
//! ```text
//!  falls asleep,             Sink: doze_ms,
//!  comes back                or a keepalive           recv joined
//!   ──────────► doze ────────────────────────► sinking ──────────► sleep
//!                ▲ recv in the ring              cancel in flight    │ item in the epoll set
//!                └───────────────── Stir: deleted, and looked at ────┘
//! ```
//! A dozer's recv brings its bytes at once, for 873 bytes of kernel memory that the ring keeps;
//! an item costs 222 and brings nothing, so a client that stirs gets a recv again, which finds
//! what there is: bytes, an end, or an error. Both at once are never armed: a recv would eat what
//! the item tells of. Items are level-triggered and deleted before anything else is done about an
//! event, so an event that was fetched and never heard of comes again.
//!
//! An event may be old when it is heard: the set was read before its client was woken for another
//! reason. Or its item is one that a killed engine did not come to delete. So an event of a client
//! that has no item deletes it once more, and says nothing else.

use super::Core;
use crate::action::Actions;
use crate::planted::{Bug, planted};
use crate::record::{Flag, NIL};
use crate::ring::{Completion, ITEMS_MAX, Op};
use crate::state::{Event, State};
use crate::token::{Kind, Token};

/// Who is heard in which way.
#[derive(Default)]
pub(super) struct Stages {
    /// Recvs of clients that the kernel holds, or whose terminal completion is unread.
    pub dozing: u32,
    /// Items in the epoll set.
    pub sunk: u32,
}

impl Core {
    /// True exactly when what the client says next is for us to hear.
    pub(super) fn is_heard(&self, slot: u32) -> bool {
        assert!(slot < self.slots.end());
        assert!(self.stages.dozing <= self.slots.used());
        match self.state(slot) {
            State::Asleep => true,
            State::Queued => !self.slots[slot].has(Flag::Input),
            _ => false,
        }
    }

    /// A client that comes, or comes back, begins with a doze.
    pub(super) fn doze(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].is_joined(), "it was heard already");
        assert!(!matches!(self.state(slot), State::Free | State::Handed));
        self.slots[slot].clear(Flag::Sunk);
        self.arm_client(slot, out);
        self.arm_beat(slot);
    }

    /// Its doze is over.
    pub(super) fn sink(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.is_heard(slot) && !self.slots[slot].has(Flag::Item));
        assert!(!self.slots[slot].has(Flag::Sunk), "sunk already");
        self.turn(slot, Event::Sink);
        self.counters.sinks += 1;
        self.slots[slot].set(Flag::Sunk);
        if planted(Bug::SunkUnjoined) {
            return self.add_item(slot, out);
        }
        self.cancel_recv(slot, out);
        self.arm_client(slot, out);
    }

    /// Arms the recv.
    pub(super) fn arm_recv(&mut self, slot: u32, out: &mut Actions) {
        let record = &mut self.slots[slot];
        assert!(!record.has(Flag::Recv) && !record.has(Flag::Item));
        assert!(!record.has(Flag::Doomed) && record.cold != NIL);
        record.set(Flag::Recv);
        self.stages.dozing += 1;
        out.ring(Op::RecvClient { token: self.token(Kind::ClientRecv, slot), slot });
    }

    /// Puts it into the epoll set.
    pub(super) fn add_item(&mut self, slot: u32, out: &mut Actions) {
        let record = &mut self.slots[slot];
        assert!(record.has(Flag::Sunk) && !record.has(Flag::Item));
        assert!(!record.has(Flag::Doomed) && record.cold != NIL);
        if planted(Bug::SunkDeaf) {
            return;
        }
        record.set(Flag::Item);
        self.stages.sunk += 1;
        out.ring(Op::AddItem { token: self.token(Kind::Item, slot), slot });
    }

    /// Takes it out of the epoll set, if it is in.
    pub(super) fn delete_item(&mut self, slot: u32, out: &mut Actions) {
        assert_ne!(self.state(slot), State::Handed, "no longer ours to touch");
        if !self.slots[slot].has(Flag::Item) {
            return;
        }
        self.slots[slot].clear(Flag::Item);
        assert!(self.stages.sunk > 0);
        self.stages.sunk -= 1;
        if !planted(Bug::ItemKept) {
            out.ring(Op::DeleteItem { slot });
        }
    }

    /// The epoll set tells of sleepers.
    pub(super) fn stirred(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        assert!(!done.more, "each look is asked for");
        assert!(done.bytes.count as usize <= ITEMS_MAX * size_of::<u64>());
        let (tokens, _) = done.bytes.of(bytes).as_chunks();
        for bits in tokens {
            let token = Token::from_bits(u64::from_ne_bytes(*bits)).expect("a token of ours");
            match self.sunk_slot(token) {
                Some(slot) => self.stir(slot, out),
                None => self.delete_stray(token, out),
            }
        }
        // After what it told of is deleted, or it would tell that again.
        if !planted(Bug::ItemsForgotten) {
            out.ring(Op::ReadItems { token: done.token });
        }
    }

    /// The epoll set has no room for it (a limit of the host), or has found that it has spoken
    /// already: it goes on dozing, and tries again.
    pub(super) fn sink_refused(&mut self, done: &Completion, out: &mut Actions) {
        assert!(done.result < 0, "a success is not told");
        assert!(!done.more);
        let Some(slot) = self.sunk_slot(done.token) else { return };
        let has_spoken = done.result == -libc::EAGAIN;
        if planted(if has_spoken { Bug::SpokenDeaf } else { Bug::RefusedDeaf }) {
            return;
        }
        self.counters.sinks_refused += u64::from(!has_spoken);
        // It may be an old one, and the item that was added since be in.
        self.delete_item(slot, out);
        self.look(slot, out);
    }

    /// An item that should not be there would be told for ever.
    fn delete_stray(&mut self, token: Token, out: &mut Actions) {
        let slot = token.index();
        assert!(self.sunk_slot(token).is_none());
        assert!(slot < self.slots.end());
        let is_here = !matches!(self.state(slot), State::Free | State::Handed);
        if is_here && self.slots.is_current(slot, token.generation()) {
            out.ring(Op::DeleteItem { slot });
        }
    }

    fn stir(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].has(Flag::Item));
        assert!(self.is_heard(slot), "an item of somebody who is not listened to");
        self.turn(slot, Event::Stir);
        self.counters.stirs += 1;
        self.delete_item(slot, out);
        if !planted(Bug::StirForgotten) {
            self.look(slot, out);
        }
    }

    /// Whatever there is to hear is heard now, even where as many doze as may.
    fn look(&mut self, slot: u32, out: &mut Actions) {
        assert!(self.slots[slot].has(Flag::Sunk));
        assert!(self.is_heard(slot));
        self.slots[slot].clear(Flag::Sunk);
        self.arm_recv(slot, out);
        self.arm_beat_again(slot);
    }

    /// Whose item a token names, if it has one still.
    fn sunk_slot(&self, token: Token) -> Option<u32> {
        assert_eq!(token.kind(), Kind::Item);
        let slot = token.index();
        assert!(slot < self.slots.end(), "nobody was ever there");
        let current = self.slots.is_current(slot, token.generation());
        (current && self.slots[slot].has(Flag::Item)).then_some(slot)
    }
}
