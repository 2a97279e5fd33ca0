//! Which place of the vault holds what: one row, divided in ranges.
//!
//! ```text
//!  0 ........ slots_max ........ conns_max ........ handoffs_in_flight_max ........ the same ...
//!  │ clients  │ hibernate conns  │ conversations with imap-master  │ their workers' pidfds │
//! ```
//! Both threads of the engine put descriptors into ranges of their own, and a new engine finds by
//! the same arithmetic what an old one has left behind. Places are only a number and a name here;
//! the files are in `sys/vault.rs`.

use crate::limits::Limits;

/// What a place is for; each with its index in its own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A client, by its slot.
    Client(u32),
    /// A hibernate connection, by its number in the core.
    Conn(u32),
    /// A conversation with imap-master, by its number in the handoff thread.
    Conversation(u32),
    /// The pidfd of the worker at the other end of that conversation.
    Worker(u32),
}

/// The division. The same limits give the same division in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    clients: u32,
    conns: u32,
    conversations: u32,
}

impl Places {
    /// As many of each as the limits allow.
    pub fn new(limits: &Limits) -> Self {
        Self {
            clients: limits.slots_max,
            conns: limits.conns_max,
            conversations: limits.handoffs_in_flight_max,
        }
    }

    /// Places of all ranges.
    pub fn count(&self) -> u32 {
        self.clients + self.conns + 2 * self.conversations
    }

    /// Where it is.
    pub fn place(&self, held: Held) -> u32 {
        let (index, count, start) = match held {
            Held::Client(slot) => (slot, self.clients, 0),
            Held::Conn(conn) => (conn, self.conns, self.clients),
            Held::Conversation(number) => (number, self.conversations, self.clients + self.conns),
            Held::Worker(number) => {
                (number, self.conversations, self.clients + self.conns + self.conversations)
            }
        };
        assert!(index < count, "{held:?} lies outside of its range of {count}");
        start + index
    }

    /// What a place is for.
    pub fn held(&self, place: u32) -> Held {
        assert!(place < self.count(), "place {place} is none of {}", self.count());
        let conns = place.checked_sub(self.clients);
        let conversations = conns.and_then(|index| index.checked_sub(self.conns));
        let workers = conversations.and_then(|index| index.checked_sub(self.conversations));
        match (conns, conversations, workers) {
            (_, _, Some(number)) => Held::Worker(number),
            (_, Some(number), _) => Held::Conversation(number),
            (Some(conn), ..) => Held::Conn(conn),
            _ => Held::Client(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_for_one_thing_and_found_again() {
        let (slots_max, conns_max, handoffs_in_flight_max) = (5, 3, 2);
        let limits = Limits { slots_max, conns_max, handoffs_in_flight_max, ..Limits::default() };
        let places = Places::new(&limits);
        let row: Vec<Held> = (0..places.count()).map(|place| places.held(place)).collect();
        let all = (0..5)
            .map(Held::Client)
            .chain((0..3).map(Held::Conn))
            .chain((0..2).map(Held::Conversation))
            .chain((0..2).map(Held::Worker));
        assert_eq!(row, all.collect::<Vec<_>>());
        for (place, held) in row.into_iter().enumerate() {
            assert_eq!(places.place(held), place as u32);
        }
    }

    #[test]
    #[should_panic(expected = "outside of its range")]
    fn a_range_does_not_run_into_the_next() {
        Places::new(&Limits { slots_max: 5, ..Limits::default() }).place(Held::Client(5));
    }
}
