//! What a storm has needed is given back when it is over: blocks in which those who wait for a
//! worker have their input.

use super::Cold;
use super::chain::{BLOCK_BYTES, Chains, FRESH};
use crate::record::NIL;

impl Cold {
    /// True when nobody has a block, and many have been used.
    pub fn is_large(&self) -> bool {
        self.chains.is_large()
    }

    /// Gives the blocks back, if nobody has any.
    pub fn give_back(&mut self) {
        if self.chains.is_large() {
            self.chains.give_back();
        }
    }
}

impl Chains {
    pub(super) fn is_large(&self) -> bool {
        self.used == 0 && self.fresh() > KEPT_BLOCKS
    }

    /// Nobody has a block: none was ever used. Free blocks mean nothing to an heir, so it does not
    /// matter that a kill takes the words back and not what they hold; who still had one at the
    /// last commit finds it in the journal.
    pub(super) fn give_back(&mut self) {
        assert_eq!(self.used, 0);
        let bytes = self.fresh() as usize * BLOCK_BYTES;
        self.image.set_word(FRESH, 0);
        self.image.release(0, bytes);
        self.free = NIL;
    }
}

/// Four pages.
const KEPT_BLOCKS: u32 = 128;
