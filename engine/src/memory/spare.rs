//! Memory of simulated engines that have ended, for those to come: making it anew would take a
//! fifth of a seed's time.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Memory;
use crate::cold::ColdMaps;
use crate::limits::Limits;
use crate::sys::map::Map;

thread_local! {
    static SPARE: RefCell<HashMap<Key, Map>> = RefCell::default();
}

/// Which map of the memory, and for how many.
type Key = (u8, u32);

/// Zeros for these limits.
pub fn memory(limits: &Limits) -> Memory {
    let keys = keys(limits);
    let found = SPARE.with_borrow_mut(|spare| {
        let is_whole = keys.iter().all(|key| spare.contains_key(key));
        is_whole.then(|| keys.map(|key| spare.remove(&key).expect("it is there")))
    });
    let Some([records, sends, blocks, shelf, models, mailboxes]) = found else {
        return Memory::new(limits, None).expect("memory");
    };
    Memory { records, sends, cold: ColdMaps { blocks, shelf, models }, mailboxes }.wiped()
}

/// The engine of these limits has ended.
pub fn keep(limits: &Limits, memory: Memory) {
    let Memory { records, sends, cold: ColdMaps { blocks, shelf, models }, mailboxes } = memory;
    let maps = keys(limits).into_iter().zip([records, sends, blocks, shelf, models, mailboxes]);
    SPARE.with_borrow_mut(|spare| spare.extend(maps));
}

fn keys(limits: &Limits) -> [Key; 6] {
    let Limits { slots_max, sends_in_flight_max, cold_blocks_max, mailboxes_max, .. } = *limits;
    [
        (0, slots_max),
        (1, sends_in_flight_max),
        (2, cold_blocks_max),
        (3, slots_max),
        (4, 0),
        (5, mailboxes_max),
    ]
}
