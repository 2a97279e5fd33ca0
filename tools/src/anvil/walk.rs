//! The walk that registers everybody, woven into the events that happen meanwhile.
//!
//! Events and pages come in the order in which the engine made them. A page has the truth of its
//! slots at its own moment; so an event of a slot that was not walked yet is already in the page
//! to come, and one of a slot that was walked is news.

/// How far the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Slots below are registered and their events are passed on.
    At(u32),
    /// Everybody is registered.
    Done,
}

impl Walk {
    /// True when anvil is to be told of an event of this slot.
    pub fn passes(self, slot: u32) -> bool {
        match self {
            Self::At(walked) => slot < walked,
            Self::Done => true,
        }
    }

    /// After a page that ended with `cursor`.
    pub fn after(cursor: Option<u32>) -> Self {
        cursor.map_or(Self::Done, Self::At)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_count_once_their_slot_was_walked() {
        let walk = Walk::At(0);
        assert!(!walk.passes(0));
        let walk = Walk::after(Some(100));
        assert!(walk.passes(99) && !walk.passes(100));
        assert!(Walk::after(None).passes(u32::MAX));
    }
}
