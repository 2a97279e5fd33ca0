//! A hash that keeps neighbours together.
//!
//! inotify gives watch numbers one after the other, and those that live are close to each other.
//! A table that scatters them touches a page of memory for each; here a thousand of them share
//! sixteen. Eight places lie between one and the next, so that no long run of full places forms,
//! whose removal would leave marks behind in the table.

use std::hash::{BuildHasherDefault, Hasher};

/// For tables whose keys are watch numbers.
pub type BuildNear = BuildHasherDefault<Near>;

/// Place in the lower bits, the seven bits by which the table tells neighbours apart on top.
#[derive(Clone, Copy, Debug, Default)]
pub struct Near(u64);

impl Hasher for Near {
    fn write(&mut self, _: &[u8]) {
        unreachable!("watch numbers are hashed as numbers");
    }

    fn write_i32(&mut self, number: i32) {
        let number = u64::from(number as u32);
        let place = number * STRIDE + number / TURN;
        let tag = number.wrapping_mul(ODD) & TAG;
        assert!(place & TAG == 0);
        self.0 = place | tag;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

const STRIDE: u64 = 8;
/// Numbers this far apart would meet in a table of 262,144 places; the later one moves by one.
const TURN: u64 = 262_144 / STRIDE;
/// The golden ratio: neighbours differ in the upper bits.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
const TAG: u64 = 0x7F << 57;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_table_of_watches_never_grows_while_they_come_and_go() {
        let mut table: HashMap<i32, u32, BuildNear> =
            HashMap::with_capacity_and_hasher(4000, <_>::default());
        let room = table.capacity();
        for number in 1..1_000_000 {
            table.insert(number, 0);
            if number > 1000 {
                assert_eq!(table.remove(&(number - 1000)), Some(0));
            }
        }
        assert_eq!((table.len(), table.capacity()), (1000, room));
    }

    #[test]
    fn a_thousand_neighbours_lie_within_sixteen_pages() {
        let place = |number: i32| {
            let mut near = Near::default();
            near.write_i32(number);
            near.finish() as usize % 262_144
        };
        let entry_bytes = size_of::<(i32, u32)>();
        let span_bytes = (place(2000) - place(1001)) * entry_bytes;
        assert!(span_bytes < 16 * 4096, "{span_bytes}");
        assert_ne!(place(1), place(1 + 32_768), "a turn later it moves by one");
    }
}
