//! BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2).

use imap_codec::imap_types::body::{
    BasicFields, Body, BodyStructure, Disposition, Language, Location, MultiPartExtensionData,
    SinglePartExtensionData, SpecificFields,
};
use imap_codec::imap_types::core::{IString, Vec1};

use super::content::{Parameter, disposition, first_word, languages};
use super::envelope::envelope;
use super::header::{field, parsed};
use super::string::{ascii, collapse, nstring, string};
use super::tree::{Kind, Part, Tree};

/// The structure of a message; BODYSTRUCTURE has the extension data, BODY has not.
pub fn structure(text: &[u8], tree: &Tree, is_extended: bool) -> BodyStructure<'static> {
    Writer { text, tree, is_extended }.part(&tree.0[0])
}

struct Writer<'a> {
    text: &'a [u8],
    tree: &'a Tree,
    is_extended: bool,
}

impl Writer<'_> {
    /// Recurses at most as deep as a tree is.
    fn part(&self, part: &Part) -> BodyStructure<'static> {
        if part.kind == Kind::Multipart {
            return self.multipart(part);
        }
        let extension_data = self.is_extended.then(|| SinglePartExtensionData {
            md5: nstring(self.value(part, "Content-MD5")),
            tail: Some(self.disposition(part)),
        });
        let body = Body { basic: self.basic(part), specific: self.specific(part) };
        BodyStructure::Single { body, extension_data }
    }

    fn multipart(&self, part: &Part) -> BodyStructure<'static> {
        let children = part.children.iter().map(|child| self.part(&self.tree.0[*child]));
        let bodies = Vec1::try_from(children.collect::<Vec<_>>())
            .unwrap_or_else(|_| Vec1::from(self.nothing()));
        let extension_data = self.is_extended.then(|| MultiPartExtensionData {
            parameter_list: parameters(&part.content_type.parameters),
            tail: Some(self.disposition(part)),
        });
        let subtype = string(part.content_type.subtype.clone());
        BodyStructure::Multi { bodies, subtype, extension_data }
    }

    /// The empty text that stands in a multipart without parts, since one must.
    fn nothing(&self) -> BodyStructure<'static> {
        let none = Tree::parse(b"");
        Writer { text: b"", tree: &none, is_extended: self.is_extended }.part(&none.0[0])
    }

    fn basic(&self, part: &Part) -> BasicFields<'static> {
        let mut list = parameters(&part.content_type.parameters);
        if is_text(part) && part.content_type.parameter("charset").is_none() {
            list.push((ascii("charset"), ascii("us-ascii")));
        }
        let encoding = field(self.header(part), "Content-Transfer-Encoding");
        BasicFields {
            parameter_list: list,
            id: nstring(self.value(part, "Content-ID")),
            description: nstring(self.value(part, "Content-Description")),
            content_transfer_encoding: encoding
                .and_then(|field| first_word(&field.unfolded()))
                .map_or_else(|| ascii("7bit"), string),
            size: (part.body.1.wire - part.body.0.wire).try_into().unwrap_or(u32::MAX),
        }
    }

    fn specific(&self, part: &Part) -> SpecificFields<'static> {
        let number_of_lines = part.body.1.line - part.body.0.line;
        match part.kind {
            Kind::Message => {
                let inner = &self.tree.0[part.children[0]];
                SpecificFields::Message {
                    envelope: Box::new(envelope(self.header(inner))),
                    body_structure: Box::new(self.part(inner)),
                    number_of_lines,
                }
            }
            // The grammar has no message or multipart without what is in it.
            Kind::Opaque => SpecificFields::Basic {
                r#type: ascii("application"),
                subtype: ascii("octet-stream"),
            },
            Kind::Leaf | Kind::Multipart => {
                let subtype = string(part.content_type.subtype.clone());
                match is_text(part) {
                    true => SpecificFields::Text { subtype, number_of_lines },
                    false => {
                        let r#type = string(part.content_type.kind.clone());
                        SpecificFields::Basic { r#type, subtype }
                    }
                }
            }
        }
    }

    fn disposition(&self, part: &Part) -> Disposition<'static> {
        let disposition = field(self.header(part), "Content-Disposition").map(|field| {
            let (kind, list) = disposition(&field.unfolded());
            (string(kind), parameters(&list))
        });
        let language = field(self.header(part), "Content-Language")
            .map(|field| languages(&field.unfolded()).into_iter().map(string).collect())
            .unwrap_or_default();
        let location = nstring(self.value(part, "Content-Location"));
        let tail = Some(Location { location, extensions: Vec::new() });
        Disposition { disposition, tail: Some(Language { language, tail }) }
    }

    fn header(&self, part: &Part) -> &[u8] {
        parsed(&self.text[part.header.0.at..part.header.1.at])
    }

    fn value(&self, part: &Part, name: &str) -> Option<Vec<u8>> {
        field(self.header(part), name).map(|field| collapse(&field.unfolded()))
    }
}

fn is_text(part: &Part) -> bool {
    part.kind == Kind::Leaf && part.content_type.is_kind("text")
}

fn parameters(list: &[Parameter]) -> Vec<(IString<'static>, IString<'static>)> {
    list.iter().map(|(name, value)| (string(name.clone()), string(value.clone()))).collect()
}

#[cfg(test)]
mod tests;
