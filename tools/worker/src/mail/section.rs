//! BODY[…]: which bytes of a message a section names (RFC 3501 section 6.4.5).

use imap_codec::imap_types::core::AString;
use imap_codec::imap_types::fetch::{Part as Path, Section};

use super::header::{fields, header_length};
use super::tree::{Kind, Part, Place, Tree};
use super::wire::Slices;

/// The bytes of a section: none if the message has no such part, as Dovecot 2.3 answers. The tree
/// is asked for only when a part number is given.
pub fn section<'a, 't>(
    text: &'a [u8],
    tree: impl FnOnce() -> &'t Tree,
    section: Option<&Section<'_>>,
) -> Slices<'a> {
    let Some(section) = section else { return Slices(vec![text]) };
    let (path, what) = take_apart(section);
    let found = match path {
        None => Some(text.split_at(header_length(text))),
        Some(path) => part(text, tree(), path, &what),
    };
    let Some((header, body)) = found else { return Slices::default() };
    match what {
        What::Header | What::Mime => Slices(vec![header]),
        What::Fields(names) => subset(header, |name| is_one_of(name, names)),
        What::FieldsNot(names) => subset(header, |name| !is_one_of(name, names)),
        What::Text | What::Whole => Slices(vec![body]),
    }
}

/// Header and body of a part, or of the message inside of it.
fn part<'a>(
    text: &'a [u8],
    tree: &Tree,
    path: &Path,
    what: &What<'_>,
) -> Option<(&'a [u8], &'a [u8])> {
    let part = match (what, find(tree, path)?) {
        (What::Mime | What::Whole, part) => part,
        (_, part) if part.kind == Kind::Message => &tree.0[part.children[0]],
        _ => return None,
    };
    let of = |(from, to): (Place, Place)| &text[from.at..to.at];
    Some((of(part.header), of(part.body)))
}

enum What<'a> {
    Fields(&'a [AString<'a>]),
    FieldsNot(&'a [AString<'a>]),
    Header,
    Mime,
    Text,
    Whole,
}

fn take_apart<'a>(section: &'a Section<'a>) -> (Option<&'a Path>, What<'a>) {
    match section {
        Section::Header(path) => (path.as_ref(), What::Header),
        Section::HeaderFields(path, names) => (path.as_ref(), What::Fields(names.as_ref())),
        Section::HeaderFieldsNot(path, names) => (path.as_ref(), What::FieldsNot(names.as_ref())),
        Section::Mime(path) => (Some(path), What::Mime),
        Section::Part(path) => (Some(path), What::Whole),
        Section::Text(path) => (path.as_ref(), What::Text),
    }
}

/// Walks part numbers. Part 1 of a message that is no multipart is its body.
fn find<'t>(tree: &'t Tree, path: &Path) -> Option<&'t Part> {
    let mut numbers = path.0.as_ref().iter().map(|number| number.get() as usize - 1);
    let mut part = of_message(tree, &tree.0[0], numbers.next()?)?;
    for number in numbers {
        part = match part.kind {
            Kind::Message => of_message(tree, &tree.0[part.children[0]], number)?,
            Kind::Multipart => &tree.0[*part.children.get(number)?],
            Kind::Leaf | Kind::Opaque => return None,
        };
    }
    Some(part)
}

fn of_message<'t>(tree: &'t Tree, message: &'t Part, number: usize) -> Option<&'t Part> {
    match message.kind {
        Kind::Multipart => message.children.get(number).map(|child| &tree.0[*child]),
        _ => (number == 0).then_some(message),
    }
}

fn is_one_of(name: &[u8], names: &[AString<'_>]) -> bool {
    names.iter().any(|wanted| wanted.as_ref().eq_ignore_ascii_case(name))
}

/// The fields that are wanted, in the header's order, and its blank line, if it has one.
fn subset(header: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Slices<'_> {
    let length: usize = fields(header).map(|field| field.whole.len()).sum();
    let wanted = fields(header).filter(|field| wanted(field.name)).map(|field| field.whole);
    Slices(wanted.chain([&header[length..]]).collect())
}

#[cfg(test)]
mod tests;
