//! Which place of the vault holds what: one row, divided in ranges.
//!
//! ```text
//!  0 ........ slots_max ........ conns_max ........ twice handoffs_in_flight_max ........
//!  │ clients  │ hibernate conns  │ conversations, each with its worker's pidfd behind it │
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
    /// Where they begin: even, so that no pair falls into two tables.
    pairs: u32,
    conversations: u32,
}

impl Places {
    /// As many of each as the limits allow.
    pub fn new(limits: &Limits) -> Self {
        Self {
            clients: limits.slots_max,
            conns: limits.conns_max,
            pairs: (limits.slots_max + limits.conns_max).next_multiple_of(2),
            conversations: limits.handoffs_in_flight_max,
        }
    }

    /// Places of all ranges.
    pub fn count(&self) -> u32 {
        self.pairs + 2 * self.conversations
    }

    /// Where it is.
    pub fn place(&self, held: Held) -> u32 {
        let (index, count, place) = match held {
            Held::Client(slot) => (slot, self.clients, slot),
            Held::Conn(conn) => (conn, self.conns, self.clients + conn),
            Held::Conversation(number) => (number, self.conversations, self.pairs + 2 * number),
            Held::Worker(number) => (number, self.conversations, self.pairs + 2 * number + 1),
        };
        assert!(index < count, "{held:?} lies outside of its range of {count}");
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_for_one_thing() {
        for conns_max in [2, 3] {
            let (slots_max, handoffs_in_flight_max) = (5, 2);
            let limits =
                Limits { slots_max, conns_max, handoffs_in_flight_max, ..Limits::default() };
            let places = Places::new(&limits);
            let pairs =
                (0..2).flat_map(|number| [Held::Conversation(number), Held::Worker(number)]);
            let all = (0..5).map(Held::Client).chain((0..conns_max).map(Held::Conn)).chain(pairs);
            let row: Vec<u32> = all.map(|held| places.place(held)).collect();
            assert!(row.is_sorted_by(|one, next| one < next));
            assert!(row[row.len() - 4].is_multiple_of(2), "no pair falls into two tables");
            assert_eq!(row.last(), Some(&(places.count() - 1)));
        }
    }

    #[test]
    #[should_panic(expected = "outside of its range")]
    fn a_range_does_not_run_into_the_next() {
        Places::new(&Limits { slots_max: 5, ..Limits::default() }).place(Held::Client(5));
    }
}
