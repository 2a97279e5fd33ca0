//! Texts on their way to clients: each stays where it is until its send has completed.

use std::ptr;

use crate::ring::SEND_BYTES;

use super::shared::Shared;

/// Equal places, numbered by the core.
pub struct Texts {
    memory: Shared,
    /// The slot that each place sends to, [`NOBODY`] when it is free.
    slots: Vec<u32>,
}

impl Texts {
    /// Room for `count` texts.
    pub fn new(count: u32) -> Self {
        let memory = Shared::new(count as usize * SEND_BYTES);
        Self { memory, slots: vec![NOBODY; count as usize] }
    }

    /// Copies a text for `slot` into a free place and gives its address.
    pub fn keep(&mut self, place: u32, slot: u32, text: &[u8]) -> *const u8 {
        assert!(text.len() <= SEND_BYTES, "{} bytes are no short line", text.len());
        let owner = &mut self.slots[place as usize];
        assert!(*owner == NOBODY, "place {place} still sends to slot {owner}");
        *owner = slot;
        let at = place as usize * SEND_BYTES;
        self.memory.write(at, text);
        ptr::with_exposed_provenance(self.memory.address(at) as usize)
    }

    /// The send has completed; gives the slot it was for.
    pub fn sent(&mut self, place: u32) -> u32 {
        let slot = std::mem::replace(&mut self.slots[place as usize], NOBODY);
        assert!(slot != NOBODY, "place {place} sent nothing");
        slot
    }

    /// Never gives the memory back.
    pub fn leak(&mut self) {
        self.memory.leak();
    }
}

const NOBODY: u32 = u32::MAX;
