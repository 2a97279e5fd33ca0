//! The parts of a MIME message, found in one pass over its lines (RFC 2046 section 5.1).
//!
//! mail-parser's own tree decodes each part and nests without a limit, and its offsets know
//! nothing of CRLF. This one decodes nothing: it notes where headers and bodies begin and end, in
//! bytes of the file, bytes of the wire and lines, so that BODYSTRUCTURE never reads a body twice.
//!
//! Every text has a tree. A boundary is a line that begins with `--` and the boundary of an open
//! multipart; the longest one that fits wins, then the innermost (as in Dovecot 2.3). The line end
//! before it belongs to it. What stays open ends where the text ends. A part at the depth or part
//! limit is opaque: nothing is looked for inside it.

use super::content::ContentType;
use super::header::{field, is_blank, line_length, parsed};

/// A point in the text, three times: each count begins at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes of the file.
    pub at: usize,
    /// Bytes of the CRLF form.
    pub wire: u64,
    /// Line ends.
    pub line: u32,
}

/// What stands in a part's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Leaf,
    /// One whole message, its only child.
    Message,
    /// Parts between boundaries, at least none.
    Multipart,
    /// A message or multipart beyond a limit.
    Opaque,
}

/// One part: `header.0..header.1` with its blank line, `body.0..body.1`.
#[derive(Clone, Debug)]
pub struct Part {
    pub kind: Kind,
    pub content_type: ContentType,
    pub header: (Place, Place),
    pub body: (Place, Place),
    /// Indexes of a multipart's parts, or of a message's only one.
    pub children: Vec<usize>,
}

/// The parts of a message; the first is the message itself.
#[derive(Clone, Debug)]
pub struct Tree(pub Vec<Part>);

impl Tree {
    /// Reads a message.
    pub fn parse(text: &[u8]) -> Tree {
        let mut scan = Scan { text, parts: Vec::new(), open: Vec::new(), is_header: true };
        let mut here = Place::default();
        let mut last_end = here;
        scan.begin(here);
        while here.at < text.len() {
            let line = &text[here.at..here.at + line_length(&text[here.at..])];
            scan.line(line, here, last_end);
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            last_end = advance(here, bare.strip_suffix(b"\r").unwrap_or(bare), 0);
            here = advance(here, line, u32::from(line.ends_with(b"\n")));
        }
        if scan.is_header {
            scan.end_header(here);
        }
        scan.close(0, here);
        Tree(scan.parts)
    }
}

/// The place behind these bytes, which are a line or, with no `lines`, a part of one.
fn advance(here: Place, bytes: &[u8], lines: u32) -> Place {
    let bare = u64::from(lines > 0 && !bytes.ends_with(b"\r\n"));
    let wire = here.wire + bytes.len() as u64 + bare;
    Place { at: here.at + bytes.len(), wire, line: here.line + lines }
}

struct Scan<'a> {
    text: &'a [u8],
    parts: Vec<Part>,
    /// The parts that have not ended, outermost first, with the boundary of a multipart.
    open: Vec<(usize, Option<Vec<u8>>)>,
    /// True exactly when the innermost open part is still in its header.
    is_header: bool,
}

impl Scan<'_> {
    /// Takes the line that begins at `here`; the text of the line before ended at `last_end`.
    fn line(&mut self, line: &[u8], here: Place, last_end: Place) {
        let after = advance(here, line, u32::from(line.ends_with(b"\n")));
        if let Some((depth, is_last)) = self.boundary(line) {
            if self.is_header {
                self.end_header(here);
            }
            self.close(depth + 1, last_end);
            match is_last {
                true => self.open[depth].1 = None,
                false => self.begin(after),
            }
        } else if self.is_header && is_blank(line) {
            self.end_header(after);
        }
    }

    /// The depth of the multipart whose boundary this line is, and whether it ends it.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let rest = line.strip_prefix(b"--")?;
        let fits = |(depth, (_, boundary)): (usize, &(usize, Option<Vec<u8>>))| {
            let boundary = boundary.as_deref().filter(|boundary| rest.starts_with(boundary))?;
            Some((boundary.len(), depth))
        };
        let (length, depth) = self.open.iter().enumerate().filter_map(fits).max()?;
        let is_last = rest[length..].starts_with(b"--");
        (is_last || self.parts.len() < PARTS_MAX).then_some((depth, is_last))
    }

    /// A part begins inside of the innermost open one.
    fn begin(&mut self, here: Place) {
        let index = self.parts.len();
        let mut content_type = ContentType::default();
        if let Some((parent, _)) = self.open.last() {
            let parent = &mut self.parts[*parent];
            parent.children.push(index);
            if parent.content_type.is("multipart", "digest") {
                (content_type.kind, content_type.subtype) = (b"message".into(), b"rfc822".into());
            }
        }
        let (kind, empty, children) = (Kind::Leaf, (here, here), Vec::new());
        self.parts.push(Part { kind, content_type, header: empty, body: empty, children });
        self.open.push((index, None));
        self.is_header = true;
    }

    /// The header of the innermost open part ends at `here`; what its type promises opens.
    fn end_header(&mut self, here: Place) {
        self.is_header = false;
        let is_full = self.open.len() >= DEPTH_MAX || self.parts.len() >= PARTS_MAX;
        let (index, boundary) = self.open.last_mut().expect("a part whose header ends is open");
        let part = &mut self.parts[*index];
        (part.header.1, part.body) = (here, (here, here));
        let header = parsed(&self.text[part.header.0.at..here.at]);
        if let Some(field) = field(header, "Content-Type") {
            part.content_type = ContentType::parse(&field.unfolded()).unwrap_or_default();
        }
        let is_message = part.content_type.is("message", "rfc822");
        let is_multipart = part.content_type.is_kind("multipart");
        part.kind = match () {
            () if is_full && (is_message || is_multipart) => Kind::Opaque,
            () if is_message => Kind::Message,
            () if is_multipart => Kind::Multipart,
            () => Kind::Leaf,
        };
        match part.kind {
            Kind::Message => self.begin(here),
            Kind::Multipart => {
                let given = part.content_type.parameter("boundary");
                *boundary = given.filter(|given| !given.is_empty()).map(<[u8]>::to_vec);
            }
            Kind::Leaf | Kind::Opaque => {}
        }
    }

    /// Ends the open parts from this depth on. The line end before `end` is not theirs, even if it
    /// is that of their header, but nothing ends before it has begun.
    fn close(&mut self, depth: usize, end: Place) {
        let no_sooner = |than: Place| if end.at < than.at { than } else { end };
        for (index, _) in self.open.drain(depth..) {
            let part = &mut self.parts[index];
            part.body.1 = no_sooner(part.header.0);
            for place in [&mut part.header.1, &mut part.body.0] {
                *place = if part.body.1.at < place.at { part.body.1 } else { *place };
            }
        }
        self.is_header = false;
    }
}

/// Parts inside of parts; as many as Dovecot 2.3 reads. It bounds the stack of what walks a tree.
pub const DEPTH_MAX: usize = 100;

/// Parts of one message, as in Dovecot 2.3. The last one takes the rest of the message.
pub const PARTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
