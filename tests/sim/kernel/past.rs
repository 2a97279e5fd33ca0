//! What is left of an engine that was killed.

use torpor_engine::planted::{Bug, planted};
use torpor_engine::ring::Completion;
use torpor_engine::slots::Ledger;

use super::SimRing;
use crate::net::{SimFd, Thing};

/// The completion queue of an engine that was killed.
pub(super) struct Past {
    number: u32,
    /// Number of its first completion.
    head: u32,
    done: Vec<(Completion, Vec<u8>)>,
}

impl SimRing {
    /// The engine was killed: its descriptors are closed and its requests cancelled. What is left
    /// is the vault and the completion queues; the next engine has a new ring.
    pub fn heir(mut self) -> Self {
        let (slots, conns) = (self.clients.len() as u32, self.conns.len() as u32);
        for armed in std::mem::take(&mut self.armed) {
            self.finish(Completion::plain(armed.token, -libc::ECANCELED, false));
        }
        let mut closed: Vec<SimFd> = Vec::new();
        closed.extend(self.lobby.drain(..).flatten().map(|(fd, _, _)| fd));
        let seats = [&mut self.clients, &mut self.notifies, &mut self.conns];
        closed.extend(seats.into_iter().flat_map(|seats| seats.drain(..)).flatten());
        let mut past = Past { number: self.number, head: self.head, done: Vec::new() };
        past.head -= self.gone.len() as u32;
        past.done.extend(self.gone.drain(..));
        for done in self.done.drain(..) {
            closed.extend(done.passed.into_iter().map(|parcel| parcel.fd));
            past.done.push((done.completion, done.bytes));
        }
        for fd in &closed {
            let is_held = self.held_conns.iter().flatten().any(|held| held.thing == fd.thing);
            if let (Thing::Conn(at), false) = (fd.thing, is_held) {
                let peer = &mut self.net.borrow_mut().conns[at];
                peer.server_closed = true;
                peer.segments.clear();
            }
        }
        self.past.push(past);
        let new = Self::new(self.net, slots, conns);
        let (held_clients, held_conns) = (self.held_clients, self.held_conns);
        // Each engine has an epoll set of its own, and arms everybody anew.
        let items = if planted(Bug::ItemOneshot) { self.items } else { Vec::new() };
        Self { held_clients, held_conns, items, number: self.number + 1, past: self.past, ..new }
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// What the engines before have not applied, by their ledger.
    pub fn inherited(&self, ledger: Ledger) -> Vec<(Completion, Vec<u8>)> {
        let past = self.past.iter().find(|past| past.number == ledger.ring);
        let past = past.expect("the ring that is named in the ledger");
        let applied = ledger.applied.saturating_sub(past.head) as usize;
        past.done[applied.min(past.done.len())..].to_vec()
    }
}
