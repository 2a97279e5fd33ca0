//! The fields of a header, as they are written.
//!
//! Nothing is refused: a line without a colon is a field without a name, so that it is shown with
//! the header but never found by name.

use std::borrow::Cow;

/// One field with its folded lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Without white space at its end; empty for a line that is no field.
    pub name: &'a [u8],
    /// What stands after the colon, folds and line end included.
    pub value: &'a [u8],
    /// All of its bytes.
    pub whole: &'a [u8],
}

impl<'a> Field<'a> {
    fn new(whole: &'a [u8]) -> Field<'a> {
        let line = &whole[..memchr::memchr(b'\n', whole).unwrap_or(whole.len())];
        match memchr::memchr(b':', line) {
            Some(colon) => {
                Field { name: whole[..colon].trim_ascii_end(), value: &whole[colon + 1..], whole }
            }
            None => Field { name: b"", value: whole, whole },
        }
    }

    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line: without line ends (RFC 5322 section 2.2.3) and the space around it.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        let value = self.value.trim_ascii();
        if memchr::memchr2(b'\r', b'\n', value).is_none() {
            return Cow::Borrowed(value);
        }
        Cow::Owned(value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
    }
}

/// The fields of a header up to its blank line.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() || is_blank(rest) {
            return None;
        }
        let mut end = line_length(rest);
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end += line_length(&rest[end..]);
        }
        let (whole, tail) = rest.split_at(end);
        rest = tail;
        Some(Field::new(whole))
    })
}

/// As much of a header as is looked at for ENVELOPE and BODYSTRUCTURE, which copy what they show.
pub fn parsed(header: &[u8]) -> &[u8] {
    &header[..header.len().min(PARSED_BYTES_MAX)]
}

/// The first field of that name.
pub fn field<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// Bytes of the header with its blank line, at the start of a message or part.
pub fn header_length(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        let blank = is_blank(&text[at..]);
        at += line_length(&text[at..]);
        if blank {
            break;
        }
    }
    at
}

/// Bytes of the first line with its end.
pub fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

pub fn is_blank(line: &[u8]) -> bool {
    line.starts_with(b"\n") || line.starts_with(b"\r\n")
}

/// Fields behind it are not parsed, but sent and searched. 10,000 addresses take half of it.
const PARSED_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"From : a@x\r\nSubject: one\n two\r\n\tthree\nno field\n more\nTo:\n\nbody: x";

    #[test]
    fn a_header_is_cut_into_fields_with_their_folds() {
        let names: Vec<&[u8]> = fields(HEADER).map(|field| field.name).collect();
        assert_eq!(names, [&b"From"[..], b"Subject", b"", b"To"]);
        let whole: Vec<u8> = fields(HEADER).flat_map(|field| field.whole.to_vec()).collect();
        assert_eq!(&HEADER[..whole.len()], whole);
        assert_eq!(header_length(HEADER), whole.len() + 1);
    }

    #[test]
    fn unfolding_removes_line_ends_alone() {
        let subject = field(HEADER, "SUBJECT").expect("there is one");
        assert_eq!(&*subject.unfolded(), b"one two\tthree");
        assert_eq!(&*field(HEADER, "to").expect("there is one").unfolded(), b"");
    }

    #[test]
    fn a_header_may_end_anywhere() {
        for end in 0..=HEADER.len() {
            assert!(fields(&HEADER[..end]).map(|field| field.whole.len()).sum::<usize>() <= end);
            assert!(header_length(&HEADER[..end]) <= end);
        }
    }
}
