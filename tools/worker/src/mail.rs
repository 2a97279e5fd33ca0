//! One message's bytes, as IMAP shows them. Pure functions: no file, no mailbox, no session.
//!
//! Every text is a message: what cannot be read as one shows as far as it can, and is fetchable
//! as bytes. Time is linear in the text; the stack is bounded by `tree::DEPTH_MAX`, what is built
//! in memory by `tree::PARTS_MAX`, `address::ADDRESSES_MAX` and the size of the headers.

pub mod address;
pub mod content;
pub mod envelope;
pub mod header;
pub mod needle;
pub mod section;
pub mod string;
pub mod structure;
pub mod text;
pub mod token;
pub mod tree;
pub mod wire;

use std::cell::OnceCell;

use imap_codec::imap_types::body::BodyStructure;
use imap_codec::imap_types::envelope::Envelope;
use imap_codec::imap_types::fetch::Section;

use tree::Tree;
use wire::Slices;

/// A message that is parsed when a question needs it, and then once.
#[derive(Debug)]
pub struct Mail<'a> {
    text: &'a [u8],
    tree: OnceCell<Tree>,
}

impl<'a> Mail<'a> {
    pub fn new(text: &'a [u8]) -> Mail<'a> {
        Mail { text, tree: OnceCell::new() }
    }

    /// RFC822.SIZE.
    pub fn size(&self) -> u64 {
        wire::wire_size(self.text)
    }

    pub fn envelope(&self) -> Envelope<'static> {
        envelope::envelope(self.header())
    }

    /// BODYSTRUCTURE, or BODY when it is not extended.
    pub fn structure(&self, is_extended: bool) -> BodyStructure<'static> {
        structure::structure(self.text, self.tree(), is_extended)
    }

    /// The bytes of a section, or of all; none if there is no such part.
    pub fn section(&self, section: Option<&Section<'_>>) -> Slices<'a> {
        section::section(self.text, || self.tree(), section)
    }

    /// With its blank line.
    pub fn header(&self) -> &'a [u8] {
        &self.text[..header::header_length(self.text)]
    }

    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    pub fn tree(&self) -> &Tree {
        self.tree.get_or_init(|| Tree::parse(self.text))
    }
}

#[cfg(test)]
mod tests;
