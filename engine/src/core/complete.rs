//! Completions, each to where its subject is.

use super::Core;
use crate::action::Actions;
use crate::ring::{Completion, Op};
use crate::state::State;
use crate::token::{Kind, Token};

impl Core {
    pub(super) fn complete(&mut self, completion: &Completion, bytes: &[u8], out: &mut Actions) {
        assert!(completion.bytes.count == 0 || completion.result > 0, "bytes of an error");
        assert!(completion.result < 0 || completion.bytes.count as i32 <= completion.result);
        match completion.token.kind() {
            Kind::Accept => self.accepted(completion, out),
            Kind::CancelAccept => {}
            Kind::Watch => self.watched(completion, bytes, out),
            Kind::Doorbell => {
                if !completion.more {
                    out.ring(Op::ReadDoorbell { token: completion.token });
                }
            }
            Kind::ConnRecv => self.conn_received(completion, bytes, out),
            Kind::ConnSend => self.conn_sent(completion, out),
            Kind::CancelConn => self.conn_cancelled(completion, out),
            Kind::ClientRecv => self.client_received(completion, bytes, out),
            Kind::ClientSend => self.client_sent(completion, out),
            Kind::CancelRecv => self.recv_cancelled(completion, out),
            Kind::Notify => self.notified(completion, out),
            Kind::CancelNotify => self.notify_cancelled(completion, out),
            Kind::Items => self.stirred(completion, bytes, out),
            Kind::Item => self.sink_refused(completion, out),
        }
    }

    pub(super) fn token(&self, kind: Kind, slot: u32) -> Token {
        assert!(slot < self.slots.end());
        assert_ne!(kind, Kind::ClientSend, "a send is named by its place");
        Token::new(kind, self.slots[slot].generation, slot)
    }

    /// The slot that a completion is about. Everything in flight is joined before a slot is let
    /// again, so it is always current.
    pub(super) fn slot_of(&self, completion: &Completion) -> u32 {
        let (slot, generation) = (completion.token.index(), completion.token.generation());
        assert!(self.slots.is_current(slot, generation), "{:?} is stale", completion.token);
        assert!(!matches!(self.state(slot), State::Offered | State::Given), "armed too early");
        slot
    }
}
