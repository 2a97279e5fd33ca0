//! Where mailboxes lie: three nodes in a line of memory that outlives the engine, with a seal.
//!
//! ```text
//! words │ node node node seal │ node node node seal │ ...
//! ```
//! The seal is a checksum of the line's nodes, renewed before each commit. A line that does not
//! match it was damaged while no engine ran: its nodes are empty then, and whoever slept there is
//! told so by [`Nodes::is_sound`].

use std::ops::{Index, IndexMut};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{FREE, WATCHES_PER_NODE};
use crate::image::{Foreign, HEAD_BYTES, Image, Kind, LINE_BYTES};
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::sys::map::Map;

/// All nodes that were ever used, and room for more.
pub struct Nodes {
    image: Image,
    max: u32,
}

/// A mailbox, or two more watches of one: most have two.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Node {
    /// -1: none.
    pub wds: [i32; WATCHES_PER_NODE],
    /// First sleeper; of further watches the mailbox that they belong to.
    pub first: u32,
    /// Node with further watches.
    pub more: u32,
    /// Next mailbox of its list, or what else the node is: see the constants.
    pub next: u32,
}

impl Node {
    /// Without watches.
    pub fn new(first: u32, next: u32) -> Self {
        Self { wds: [-1; WATCHES_PER_NODE], first, more: NIL, next }
    }
}

impl Nodes {
    /// Bytes of an image for so many.
    pub fn bytes(max: u32) -> usize {
        (max as usize).div_ceil(NODES_PER_LINE) * LINE_BYTES
    }

    /// None, in new memory for `max`.
    pub fn new(max: u32, map: Map) -> Self {
        let image = Image::new(Kind::Mailboxes, map);
        assert!(image.len() >= Self::bytes(max), "memory of other limits");
        Self { image, max }
    }

    /// Those of an engine that was killed after it had committed this transaction. Memory that
    /// nobody has used yet, or that holds no nodes which the `owner` of the records has written,
    /// has none.
    ///
    /// # Errors
    /// The memory is too small.
    pub fn revive(max: u32, mut map: Map, committed: u64, owner: u32) -> Result<Self, Foreign> {
        if map.len() < Image::map_bytes(Self::bytes(max)) {
            return Err(Foreign::Size(Kind::Mailboxes));
        }
        if Image::check(Kind::Mailboxes, &map).is_ok() {
            let mut image = Image::open(Kind::Mailboxes, map)?;
            image.roll_back(committed);
            if image.word(OWNER_WORD) == u64::from(owner) {
                return Ok(Self { image, max });
            }
            map = image.into_map();
        }
        // Where nobody has written it is zero, and what is not touched costs no memory.
        if map[..HEAD_BYTES].iter().any(|byte| *byte != 0) {
            map.fill(0);
        }
        let mut nodes = Self::new(max, map);
        nodes.image.begin(committed + 1);
        Ok(nodes)
    }

    /// Nodes that were ever used lie below this.
    pub fn end(&self) -> u32 {
        (self.image.word(END_WORD) as u32).min(self.max)
    }

    /// Room for so many.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Takes one into use that never was.
    pub fn push(&mut self, node: Node) -> u32 {
        let end = self.end();
        assert!(end < self.max, "room was looked for");
        self.image.set_word(END_WORD, u64::from(end) + 1);
        self[end] = node;
        end
    }

    /// The engine whose completions the ring of this number brings writes here from now on.
    pub fn set_owner(&mut self, owner: u32) {
        self.image.set_word(OWNER_WORD, owner.into());
    }

    /// True exactly when the line of this node is as it was last committed.
    pub fn is_sound(&self, node: u32) -> bool {
        let line = &self.image[line_at(node)..][..LINE_BYTES];
        line[NODES_BYTES..] == seal_of(line) || planted(Bug::TornMailboxTrusted)
    }

    /// Before a commit: whatever was written in this transaction gets its checksum.
    pub fn seal(&mut self) {
        for index in 0..self.image.written() {
            let Some(at) = self.image.written_at(index) else { continue };
            let seal = seal_of(&self.image[at..at + LINE_BYTES]);
            self.image.edit(at + NODES_BYTES, SEAL_BYTES).copy_from_slice(&seal);
        }
    }

    /// Begins a transaction, see [`Image`].
    pub fn begin(&mut self, epoch: u64) {
        self.image.begin(epoch);
    }

    /// What they lie in, for an heir.
    pub fn into_map(self) -> Map {
        self.image.into_map()
    }

    /// Nothing is in it, and what it held is nobody's.
    pub fn forget(&mut self, node: u32, free: u32) {
        self[node] = Node::new(free, FREE);
    }
}

impl Index<u32> for Nodes {
    type Output = Node;
    fn index(&self, node: u32) -> &Node {
        Node::ref_from_bytes(&self.image[node_at(node)..][..NODE_BYTES])
            .expect("aligned, of its size")
    }
}

impl IndexMut<u32> for Nodes {
    fn index_mut(&mut self, node: u32) -> &mut Node {
        Node::mut_from_bytes(self.image.edit(node_at(node), NODE_BYTES)).expect("as above")
    }
}

fn line_at(node: u32) -> usize {
    node as usize / NODES_PER_LINE * LINE_BYTES
}

fn node_at(node: u32) -> usize {
    line_at(node) + node as usize % NODES_PER_LINE * NODE_BYTES
}

fn seal_of(line: &[u8]) -> [u8; SEAL_BYTES] {
    crc32fast::hash(&line[..NODES_BYTES]).to_le_bytes()
}

const NODE_BYTES: usize = size_of::<Node>();
const NODES_PER_LINE: usize = 3;
const NODES_BYTES: usize = NODES_PER_LINE * NODE_BYTES;
const SEAL_BYTES: usize = 4;
const END_WORD: usize = 0;
const OWNER_WORD: usize = 1;

const _: () = assert!(NODE_BYTES == 20, "a mailbox costs a third of a line, and its watches 16");
const _: () = assert!(NODES_BYTES + SEAL_BYTES == LINE_BYTES);
