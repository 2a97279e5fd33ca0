//! Tab-escaping: how a field may hold TAB, LF, CR, NUL and the escape byte itself.

use memchr::memchr2;

use super::{Excerpt, LineError};

/// Pushes `raw` in escaped form: at most two bytes for each.
pub fn escape_into(out: &mut Vec<u8>, raw: &[u8]) {
    let start = out.len();
    for &byte in raw {
        match code_of(byte) {
            Some(code) => out.extend_from_slice(&[ESCAPE, code]),
            None => out.push(byte),
        }
    }
    assert!(out.len() - start >= raw.len());
    assert!(out.len() - start <= 2 * raw.len());
}

/// Pushes the text of an escaped field, by Dovecot's rules: an unknown escape stands for its
/// second byte, a lone escape byte at the end is dropped.
pub fn unescape_into(out: &mut Vec<u8>, field: &[u8]) {
    let start = out.len();
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        if byte != ESCAPE {
            out.push(byte);
        } else if let Some(&code) = bytes.next() {
            out.push(byte_of(code).unwrap_or(code));
        }
    }
    assert!(out.len() - start <= field.len());
}

/// Refuses what no Dovecot writes: NUL in either form, and escapes outside of the table.
///
/// With this checked, no escape can stand for a byte of a key or for its `=`, so keys are compared
/// in their raw form everywhere else.
pub fn check_escapes(line: &[u8]) -> Result<(), LineError> {
    let mut rest = line;
    while let Some(at) = memchr2(ESCAPE, 0, rest) {
        match (rest[at], rest.get(at + 1).copied()) {
            (0, _) | (ESCAPE, Some(b'0')) => return Err(LineError::NulByte),
            (ESCAPE, Some(code)) if byte_of(code).is_some() => rest = &rest[at + 2..],
            _ => return Err(LineError::BadEscape(Excerpt::new(&rest[at..]))),
        }
    }
    Ok(())
}

fn code_of(byte: u8) -> Option<u8> {
    TABLE.iter().find(|(raw, _)| *raw == byte).map(|(_, code)| *code)
}

fn byte_of(code: u8) -> Option<u8> {
    TABLE.iter().find(|(_, known)| *known == code).map(|(raw, _)| *raw)
}

const ESCAPE: u8 = 0x01;
const TABLE: [(u8, u8); 5] =
    [(0x00, b'0'), (ESCAPE, b'1'), (b'\t', b't'), (b'\r', b'r'), (b'\n', b'n')];
