//! Bytes of a mail as strings of IMAP.

use imap_codec::imap_types::core::{IString, NString};

/// A string that any client can read: line ends are gone, and NUL, which no string of IMAP may
/// hold, is U+FFFD. What a quoted string cannot hold (8-bit bytes) becomes a literal.
pub fn string(mut text: Vec<u8>) -> IString<'static> {
    text.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    if text.contains(&0) {
        let parts: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
        text = parts.join("\u{fffd}".as_bytes());
    }
    IString::try_from(text).expect("a text without NUL is at least a literal")
}

/// The same for a string of ours, which is all US-ASCII.
pub fn ascii(text: &'static str) -> IString<'static> {
    IString::try_from(text).expect("US-ASCII can be quoted")
}

/// NIL for nothing.
pub fn nstring(text: Option<Vec<u8>>) -> NString<'static> {
    NString(text.map(string))
}

/// White space of any length as one space, as Dovecot 2.3 shows what people read.
pub fn collapse(text: &[u8]) -> Vec<u8> {
    let mut collapsed = Vec::with_capacity(text.len());
    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        if !collapsed.is_empty() {
            collapsed.push(b' ');
        }
        collapsed.extend_from_slice(word);
    }
    collapsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_finds_its_place_in_a_string() {
        for byte in 0..=255 {
            let text = string(vec![b'a', byte, b'b']).into_inner().into_owned();
            match byte {
                0 => assert_eq!(text, "a\u{fffd}b".as_bytes()),
                b'\r' | b'\n' => assert_eq!(text, b"ab"),
                _ => assert_eq!(text, [b'a', byte, b'b']),
            }
        }
    }

    #[test]
    fn white_space_collapses() {
        assert_eq!(collapse(b" a\t \tb  c "), b"a b c");
    }
}
