//! The cold store: words that are needed only when a client wakes.
//!
//! A chain of fixed blocks for each client, out of one arena that never grows. The first block of
//! a chain begins with a header; the hibernate line follows, then input that the client sent, and
//! a second chain holds output that a short write left over. Blocks are zeroed when they are
//! given back, since lines carry authentication tokens.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::record::NIL;

/// The arena. Chains are named by their first block.
pub struct Cold {
    blocks: Vec<Block>,
    free: u32,
    fresh: u32,
    used: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Block {
    next: u32,
    data: [u8; BLOCK_BYTES - 4],
}

/// At the front of a chain's first block.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    /// Last block of the chain.
    tail: u32,
    /// Bytes of the line; input follows it.
    line: u32,
    /// Bytes in the chain altogether, header included.
    total: u32,
    /// Chain of the output left over, or [`NIL`].
    output: u32,
}

impl Cold {
    /// Room for `blocks_max` blocks of [`BLOCK_BYTES`].
    pub fn new(blocks_max: u32) -> Self {
        let blocks = Block::new_vec_zeroed(blocks_max as usize).expect("memory for cold blocks");
        Self { blocks, free: NIL, fresh: 0, used: 0 }
    }

    /// An empty chain, or `None` when the store is full.
    pub fn open(&mut self) -> Option<u32> {
        let chain = self.take()?;
        let header = Header { tail: chain, line: 0, total: HEADER_BYTES as u32, output: NIL };
        self.set_header(chain, header);
        Some(chain)
    }

    /// Adds to the line. `false` when the store is full: the chain keeps what fitted and is of no
    /// use but to be closed.
    #[must_use]
    pub fn append_line(&mut self, chain: u32, bytes: &[u8]) -> bool {
        let header = self.header(chain);
        assert_eq!(header.total as usize, HEADER_BYTES + header.line as usize);
        let done = self.append(chain, bytes);
        let mut header = self.header(chain);
        header.line = header.total - HEADER_BYTES as u32;
        self.set_header(chain, header);
        done
    }

    /// Adds client input behind the line.
    #[must_use]
    pub fn append_input(&mut self, chain: u32, bytes: &[u8]) -> bool {
        self.append(chain, bytes)
    }

    /// Keeps output that a short write left over.
    #[must_use]
    pub fn set_output(&mut self, chain: u32, bytes: &[u8]) -> bool {
        let mut header = self.header(chain);
        assert_eq!(header.output, NIL, "a client writes nothing while output is left over");
        let Some(output) = self.open() else { return false };
        header.output = output;
        self.set_header(chain, header);
        self.append_line(output, bytes)
    }

    /// True exactly when output is left over.
    pub fn has_output(&self, chain: u32) -> bool {
        self.header(chain).output != NIL
    }

    /// Bytes of the line.
    pub fn line_bytes(&self, chain: u32) -> usize {
        self.header(chain).line as usize
    }

    /// Copies the line behind what `out` holds.
    pub fn read_line(&self, chain: u32, out: &mut Vec<u8>) {
        self.read(chain, HEADER_BYTES, self.line_bytes(chain), out);
    }

    /// Copies the input.
    pub fn read_input(&self, chain: u32, out: &mut Vec<u8>) {
        let header = self.header(chain);
        let from = HEADER_BYTES + header.line as usize;
        self.read(chain, from, header.total as usize - from, out);
    }

    /// Copies the output left over.
    pub fn read_output(&self, chain: u32, out: &mut Vec<u8>) {
        let output = self.header(chain).output;
        if output != NIL {
            self.read_line(output, out);
        }
    }

    /// Gives all blocks of a chain back, zeroed.
    pub fn close(&mut self, chain: u32) {
        let output = self.header(chain).output;
        if output != NIL {
            self.close(output);
        }
        let mut block = chain;
        while block != NIL {
            let next = self.blocks[block as usize].next;
            self.blocks[block as usize] = Block::new_zeroed();
            self.blocks[block as usize].next = self.free;
            self.free = block;
            assert!(self.used > 0, "a block is given back twice");
            self.used -= 1;
            block = next;
        }
    }

    /// Blocks in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// True when a line of this many bytes would still fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        let blocks = (HEADER_BYTES + bytes).div_ceil(DATA_BYTES);
        self.blocks.len() - self.used as usize >= blocks
    }

    fn take(&mut self) -> Option<u32> {
        let block = if self.free != NIL {
            let block = self.free;
            self.free = self.blocks[block as usize].next;
            block
        } else if (self.fresh as usize) < self.blocks.len() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            assert_eq!(self.used as usize, self.blocks.len(), "a block is neither free nor used");
            return None;
        };
        self.blocks[block as usize].next = NIL;
        self.used += 1;
        Some(block)
    }

    fn append(&mut self, chain: u32, mut bytes: &[u8]) -> bool {
        let mut header = self.header(chain);
        while !bytes.is_empty() {
            let mut at = header.total as usize % DATA_BYTES;
            if at == 0 {
                let Some(block) = self.take() else {
                    self.set_header(chain, header);
                    return false;
                };
                self.blocks[header.tail as usize].next = block;
                header.tail = block;
                at = 0;
            }
            let count = bytes.len().min(DATA_BYTES - at);
            let (now, later) = bytes.split_at(count);
            self.blocks[header.tail as usize].data[at..at + count].copy_from_slice(now);
            header.total += count as u32;
            bytes = later;
        }
        self.set_header(chain, header);
        true
    }

    fn read(&self, chain: u32, from: usize, count: usize, out: &mut Vec<u8>) {
        assert!(out.len() + count <= out.capacity(), "a reader reserves its room at start");
        let (mut block, mut skip, mut left) = (chain, from, count);
        while left > 0 {
            let Block { next, data } = &self.blocks[block as usize];
            if skip < DATA_BYTES {
                let take = left.min(DATA_BYTES - skip);
                out.extend_from_slice(&data[skip..skip + take]);
                left -= take;
            }
            skip = skip.saturating_sub(DATA_BYTES);
            block = *next;
        }
    }

    fn header(&self, chain: u32) -> Header {
        let data = &self.blocks[chain as usize].data;
        let (header, _) = Header::read_from_prefix(data).expect("a block holds a header");
        assert!(header.total as usize >= HEADER_BYTES, "not the first block of a chain");
        header
    }

    fn set_header(&mut self, chain: u32, header: Header) {
        let data = &mut self.blocks[chain as usize].data;
        header.write_to_prefix(data).expect("a block holds a header");
    }
}

/// Size of a block. A line of Dovecot 2.4 takes seven, of 2.3 five.
pub const BLOCK_BYTES: usize = 128;

const DATA_BYTES: usize = BLOCK_BYTES - 4;
const HEADER_BYTES: usize = size_of::<Header>();

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES);
const _: () = assert!(HEADER_BYTES < DATA_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cold: &Cold, chain: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 << 16);
        cold.read_line(chain, &mut out);
        out
    }

    #[test]
    fn a_chain_gives_back_each_part_at_every_length() {
        for length in 0..600 {
            let mut cold = Cold::new(32);
            let chain = cold.open().expect("room");
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            for piece in bytes.chunks(37) {
                assert!(cold.append_line(chain, piece));
            }
            assert!(cold.append_input(chain, b"DONE\r\n"));
            assert!(cold.append_input(chain, b"x"));
            assert!(cold.set_output(chain, b"ill here\r\n"));
            assert_eq!(line(&cold, chain), bytes);
            let mut out = Vec::with_capacity(64);
            cold.read_input(chain, &mut out);
            cold.read_output(chain, &mut out);
            assert_eq!(out, b"DONE\r\nxill here\r\n");
            cold.close(chain);
            assert_eq!(cold.used(), 0);
        }
    }

    #[test]
    fn a_full_store_refuses_and_recovers() {
        let mut cold = Cold::new(3);
        let chain = cold.open().expect("room");
        assert!(!cold.append_line(chain, &[7; 600]));
        assert!(cold.open().is_none());
        cold.close(chain);
        assert!(cold.has_room(300) && !cold.has_room(400));
        let chain = cold.open().expect("room again");
        assert!(cold.append_line(chain, &[7; 300]));
        assert_eq!(line(&cold, chain), [7; 300]);
    }

    #[test]
    fn nothing_of_a_line_stays_behind() {
        let mut cold = Cold::new(8);
        let chain = cold.open().expect("room");
        assert!(cold.append_line(chain, &[b's'; 500]));
        cold.close(chain);
        assert!(cold.blocks.iter().all(|block| !block.data.contains(&b's')));
    }
}
