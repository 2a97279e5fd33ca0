//! The one source of chance of a seed (splitmix64): the same seed gives the same run. Or of a
//! script, whose bytes are the draws until there are no more.

use std::collections::VecDeque;

pub struct Random {
    bits: u64,
    script: VecDeque<u8>,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let bits = seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5851_F42D_4C95_7F2D;
        Self { bits, script: VecDeque::new() }
    }

    pub fn scripted(script: &[u8]) -> Self {
        Self { script: script.iter().copied().collect(), ..Self::new(0) }
    }

    /// True while draws come out of a script.
    pub fn is_scripted(&self) -> bool {
        !self.script.is_empty()
    }

    /// From now on it is chance again.
    pub fn end_script(&mut self) {
        self.script.clear();
    }

    fn next(&mut self) -> u64 {
        self.bits = self.bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.bits;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ bits >> 31
    }

    /// Below `count`, evenly. A script spends one byte on it, or two where one is too coarse.
    pub fn below(&mut self, count: u32) -> u32 {
        assert!(count > 0);
        if let Some(low) = self.script.pop_front() {
            let high = if count > 256 { self.script.pop_front().unwrap_or(0) } else { 0 };
            return u32::from(u16::from_le_bytes([low, high])) % count;
        }
        (((self.next() >> 32) * u64::from(count)) >> 32) as u32
    }

    /// From `least` to `most`, both included.
    pub fn range(&mut self, least: u32, most: u32) -> u32 {
        least + self.below(most - least + 1)
    }

    pub fn ms(&mut self, least: u32, most: u32) -> u64 {
        self.range(least, most).into()
    }

    pub fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}
