//! Session ids: what logs, `torpor who` and the engine call a session by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// A new id: the time in microseconds and a count, so that ids of one machine differ as long as
/// its clock does not go back by exactly the time between two fronts.
pub fn id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed) % (1 << COUNT_BITS);
    let number = ((now.as_micros() as u64) << COUNT_BITS) | count;
    STANDARD_NO_PAD.encode(number.to_be_bytes())
}

/// Microseconds need 51 bits until the year 2041.
const COUNT_BITS: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_and_are_short() {
        let ids: HashSet<String> = (0..4_000).map(|_| id()).collect();
        assert_eq!(ids.len(), 4_000);
        assert!(ids.iter().all(|id| id.len() == 11));
    }
}
