//! Chains of equal blocks: words that have no fixed length.
//!
//! A chain's first block begins with a header; the line follows, then input that the client sent,
//! and a second chain holds output that a short write left over. Its checksum covers the words.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::image::Image;
use crate::record::NIL;

/// All chains. Each is named by its first block.
pub struct Chains {
    pub(super) image: Image,
    pub(super) free: u32,
    pub(super) used: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Block {
    pub next: u32,
    data: [u8; DATA_BYTES],
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
    /// Of all bytes behind the header; as it lies there, mixed with that of the words above.
    checksum: u32,
}

impl Chains {
    /// As many blocks of [`BLOCK_BYTES`] as `image` holds.
    pub fn new(image: Image) -> Self {
        assert!(image.len().is_multiple_of(BLOCK_BYTES));
        assert!(image.len() / BLOCK_BYTES < 1 << 31, "the upper bit is the caller's");
        Self { image, free: NIL, used: 0 }
    }

    /// An empty chain, or `None` when the store is full.
    pub fn open(&mut self) -> Option<u32> {
        let chain = self.take()?;
        let total = HEADER_BYTES as u32;
        self.set_header(chain, Header { tail: chain, line: 0, total, output: NIL, checksum: 0 });
        Some(chain)
    }

    /// Adds to the line. `false` when the store is full: the chain keeps what fitted and is of no
    /// use but to be closed.
    #[must_use]
    pub fn append_line(&mut self, chain: u32, bytes: &[u8]) -> bool {
        let header = self.header(chain);
        assert_eq!(header.total as usize, HEADER_BYTES + header.line as usize);
        let done = self.append_input(chain, bytes);
        let mut header = self.header(chain);
        header.line = header.total - HEADER_BYTES as u32;
        self.set_header(chain, header);
        done
    }

    /// Adds client input behind the line.
    #[must_use]
    pub fn append_input(&mut self, chain: u32, mut bytes: &[u8]) -> bool {
        let mut header = self.header(chain);
        while !bytes.is_empty() {
            let mut at = header.total as usize % DATA_BYTES;
            if at == 0 {
                let Some(block) = self.take() else {
                    self.set_header(chain, header);
                    return false;
                };
                self.block_mut(header.tail).next = block;
                header.tail = block;
                at = 0;
            }
            let count = bytes.len().min(DATA_BYTES - at);
            let (now, later) = bytes.split_at(count);
            self.block_mut(header.tail).data[at..at + count].copy_from_slice(now);
            header.total += count as u32;
            header.checksum = checksum(header.checksum, now);
            bytes = later;
        }
        self.set_header(chain, header);
        true
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
        self.output(chain) != NIL
    }

    /// The chain of the output left over, or [`NIL`].
    pub(super) fn output(&self, chain: u32) -> u32 {
        self.header(chain).output
    }

    /// Bytes of the line.
    pub fn line_bytes(&self, chain: u32) -> usize {
        self.header(chain).line as usize
    }

    /// Copies the line behind what `out` holds; `false` when the chain is damaged.
    #[must_use]
    pub fn read_line(&self, chain: u32, out: &mut Vec<u8>) -> bool {
        let sound = self.is_sound(chain);
        if sound {
            self.read(chain, HEADER_BYTES, self.line_bytes(chain), out);
        }
        sound
    }

    /// Copies the input; `false` when the chain is damaged.
    #[must_use]
    pub fn read_input(&self, chain: u32, out: &mut Vec<u8>) -> bool {
        let sound = self.is_sound(chain);
        if sound {
            let header = self.header(chain);
            let from = HEADER_BYTES + header.line as usize;
            self.read(chain, from, header.total as usize - from, out);
        }
        sound
    }

    /// Copies the output left over; `false` when it is damaged.
    #[must_use]
    pub fn read_output(&self, chain: u32, out: &mut Vec<u8>) -> bool {
        match self.header(chain).output {
            NIL => true,
            output => self.read_line(output, out),
        }
    }

    /// Gives all blocks of a chain back, zeroed; `false`, and none, when it is damaged.
    pub fn close(&mut self, chain: u32) -> bool {
        if !self.is_sound(chain) {
            return false;
        }
        let output = self.header(chain).output;
        if output != NIL && !self.close(output) {
            return false;
        }
        let mut block = chain;
        while block != NIL {
            let next = self.block(block).next;
            *self.block_mut(block) = Block::new_zeroed();
            self.block_mut(block).next = self.free;
            self.free = block;
            assert!(self.used > 0, "a block is given back twice");
            self.used -= 1;
            block = next;
        }
        true
    }

    /// True exactly when the chain has as many blocks as its header says, and their words are
    /// those that were written.
    pub fn is_sound(&self, chain: u32) -> bool {
        if chain >= self.fresh() {
            return false;
        }
        let Header { tail, line, total, output, checksum: expected } = self.header(chain);
        if total as usize > self.fresh() as usize * DATA_BYTES {
            // Blocks that name each other in a circle could be walked for minutes.
            return false;
        }
        let (mut left, mut skip) = (total as usize, HEADER_BYTES);
        let (mut block, mut found, mut last) = (chain, 0, chain);
        while left > 0 && block < self.fresh() {
            let Block { next, data } = self.block(block);
            let here = left.min(DATA_BYTES);
            found = checksum(found, &data[skip.min(here)..here]);
            (last, block) = (block, *next);
            (left, skip) = (left - here, 0);
        }
        let counts =
            total as usize >= HEADER_BYTES && line as usize <= total as usize - HEADER_BYTES;
        let ends = left == 0 && block == NIL && last == tail;
        counts && ends && found == expected && (output == NIL || output < self.fresh())
    }

    /// Blocks in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// True when a line of this many bytes would still fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        let blocks = (HEADER_BYTES + bytes).div_ceil(DATA_BYTES);
        (self.count() - self.used) as usize >= blocks
    }

    fn take(&mut self) -> Option<u32> {
        let block = if self.free != NIL {
            let block = self.free;
            self.free = self.block(block).next;
            block
        } else if self.fresh() < self.count() {
            let block = self.fresh();
            self.image.set_word(FRESH, u64::from(block) + 1);
            block
        } else {
            assert_eq!(self.free, NIL);
            return None;
        };
        self.block_mut(block).next = NIL;
        self.used += 1;
        Some(block)
    }

    fn read(&self, chain: u32, from: usize, count: usize, out: &mut Vec<u8>) {
        assert!(out.len() + count <= out.capacity(), "a reader reserves its room at start");
        let (mut block, mut skip, mut left) = (chain, from, count);
        while left > 0 {
            let Block { next, data } = self.block(block);
            if skip < DATA_BYTES {
                let take = left.min(DATA_BYTES - skip);
                out.extend_from_slice(&data[skip..skip + take]);
                left -= take;
            }
            skip = skip.saturating_sub(DATA_BYTES);
            block = *next;
        }
    }

    /// Blocks from here on have never been used.
    pub(super) fn fresh(&self) -> u32 {
        (self.image.word(FRESH) as u32).min(self.count())
    }

    fn count(&self) -> u32 {
        (self.image.len() / BLOCK_BYTES) as u32
    }

    pub(super) fn block(&self, block: u32) -> &Block {
        let at = block as usize * BLOCK_BYTES;
        Block::ref_from_bytes(&self.image[at..at + BLOCK_BYTES]).expect("aligned and of its size")
    }

    pub(super) fn block_mut(&mut self, block: u32) -> &mut Block {
        let at = block as usize * BLOCK_BYTES;
        Block::mut_from_bytes(self.image.edit(at, BLOCK_BYTES)).expect("aligned and of its size")
    }

    fn header(&self, chain: u32) -> Header {
        let (mut header, _) =
            Header::read_from_prefix(&self.block(chain).data).expect("a block holds a header");
        header.checksum ^= crc32fast::hash(&header.as_bytes()[..WORDS_BYTES]);
        header
    }

    fn set_header(&mut self, chain: u32, mut header: Header) {
        header.checksum ^= crc32fast::hash(&header.as_bytes()[..WORDS_BYTES]);
        header.write_to_prefix(&mut self.block_mut(chain).data).expect("a block holds a header");
    }
}

fn checksum(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

/// Size of a block. A line of Dovecot 2.4 takes seven on its way in.
pub const BLOCK_BYTES: usize = 128;

const DATA_BYTES: usize = BLOCK_BYTES - 4;
/// Which of the image's words it is.
pub(super) const FRESH: usize = 0;
const HEADER_BYTES: usize = size_of::<Header>();
/// Of the header: what its checksum is mixed with.
const WORDS_BYTES: usize = core::mem::offset_of!(Header, checksum);

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES);
const _: () = assert!(HEADER_BYTES < DATA_BYTES);

#[cfg(test)]
mod tests;
