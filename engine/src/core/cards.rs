//! Cards made while a client's line was at hand, for the report that comes a moment later: to
//! unpack a line anew costs as much as to keep it.
//!
//! One row for each of the first hibernate connections and handoffs; in a storm the others go
//! without, lest the storm leave a row of memory for each. A card that is not there, is too long,
//! or was made by an engine that was killed, costs time and nothing else.

/// All rows. Those that nobody has used cost address space only.
pub(super) struct Cards {
    bytes: Vec<u8>,
    owners: [Owner; 2 * ROWS],
}

/// Whose card lies in a row.
#[derive(Clone, Copy, Default)]
struct Owner {
    slot: u32,
    generation: u32,
    /// 0: nobody's.
    count: usize,
}

/// Which row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row {
    /// Of the hibernate connection that offers the client.
    Conn(u32),
    /// Of the handoff's place.
    Place(u32),
}

impl Cards {
    pub fn new() -> Self {
        Self { bytes: vec![0; 2 * ROWS * ROW_BYTES], owners: [Owner::default(); 2 * ROWS] }
    }

    /// Keeps the card of this tenant of a slot, if it is short enough.
    pub fn put(&mut self, row: Row, slot: u32, generation: u32, card: &[u8]) {
        let Some(row) = index(row) else { return };
        let count = if card.len() <= ROW_BYTES { card.len() } else { 0 };
        self.bytes[row * ROW_BYTES..][..count].copy_from_slice(&card[..count]);
        self.owners[row] = Owner { slot, generation, count };
    }

    /// The card of this tenant of a slot; it is given once.
    pub fn take(&mut self, row: Row, slot: u32, generation: u32) -> Option<&[u8]> {
        let row = index(row)?;
        let Owner { slot: of, generation: and, count } = core::mem::take(&mut self.owners[row]);
        let is_its = (of, and) == (slot, generation) && count > 0;
        is_its.then(|| &self.bytes[row * ROW_BYTES..][..count])
    }
}

fn index(row: Row) -> Option<usize> {
    let (first, number) = match row {
        Row::Conn(conn) => (0, conn as usize),
        Row::Place(place) => (ROWS, place as usize),
    };
    (number < ROWS).then_some(first + number)
}

/// Of connections, and of handoffs.
const ROWS: usize = 64;
/// A card of Dovecot 2.4 has some 500.
const ROW_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_given_once_and_to_its_tenant_alone() {
        let mut cards = Cards::new();
        let rows = [Row::Conn(0), Row::Conn(1), Row::Place(0)];
        for (slot, row) in (5..).zip(rows) {
            cards.put(row, slot, 1, format!("card of {slot}").as_bytes());
        }
        assert_eq!(cards.take(Row::Conn(1), 6, 1), Some(&b"card of 6"[..]));
        assert_eq!(cards.take(Row::Conn(1), 6, 1), None, "once");
        assert_eq!(cards.take(Row::Conn(0), 5, 2), None, "of who was here before");
        cards.put(Row::Conn(ROWS as u32), 7, 2, b"one of many");
        assert_eq!(cards.take(Row::Conn(ROWS as u32), 7, 2), None);
        cards.put(Row::Place(0), 7, 2, &[b'x'; ROW_BYTES + 1]);
        assert_eq!(cards.take(Row::Place(0), 7, 2), None, "too long");
        cards.put(Row::Place(0), 7, 2, &[b'y'; ROW_BYTES]);
        assert_eq!(cards.take(Row::Place(0), 7, 2).map(<[u8]>::len), Some(ROW_BYTES));
    }
}
