//! Fields and the values they may hold.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use super::{Excerpt, LineError};

/// The fields of a line. An empty line has none; `a<TAB><TAB>b` has an empty one in the middle.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = (!line.is_empty()).then_some(line);
    std::iter::from_fn(move || {
        let rest = left?;
        let end = memchr(b'\t', rest);
        left = end.map(|end| &rest[end + 1..]);
        Some(&rest[..end.unwrap_or(rest.len())])
    })
}

/// Key and value: split at the first `=`, since base64 holds more of them. A bare key is a flag
/// and has the empty value.
pub(super) fn key_value(field: &[u8]) -> (&[u8], &[u8]) {
    match field.iter().position(|&byte| byte == b'=') {
        Some(at) => (&field[..at], &field[at + 1..]),
        None => (field, &[]),
    }
}

/// Decimal ASCII without sign, at most `max`.
pub(super) fn number(key: &'static str, value: &[u8], max: u64) -> Result<u64, LineError> {
    match decimal(value) {
        Some(number) if number <= max => Ok(number),
        _ => Err(invalid(key, value)),
    }
}

pub(super) fn number_u32(key: &'static str, value: &[u8], max: u32) -> Result<u32, LineError> {
    let number = number(key, value, u64::from(max))?;
    Ok(u32::try_from(number).expect("number() holds it below max"))
}

/// A TCP port: 1 to 65535, as Dovecot reads it.
pub(super) fn port(key: &'static str, value: &[u8]) -> Result<u16, LineError> {
    match u16::try_from(number(key, value, u64::from(u16::MAX))?) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(invalid(key, value)),
    }
}

pub(super) fn address(key: &'static str, value: &[u8]) -> Result<IpAddr, LineError> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| invalid(key, value))
}

/// Standard base64 with padding. Decoded piece by piece into a buffer on the stack and forgotten:
/// what is asked is only whether the next reader will be able to decode it.
pub(super) fn base64<'a>(key: &'static str, value: &'a [u8]) -> Result<&'a [u8], LineError> {
    let padding = memchr(b'=', value).unwrap_or(value.len());
    // A piece could end in padding of its own, so that is looked at here: last two bytes only.
    if value.len() - padding > 2 {
        return Err(invalid(key, value));
    }
    let mut scratch = [0; PIECE_BYTES / 4 * 3];
    for piece in value.chunks(PIECE_BYTES) {
        if STANDARD.decode_slice(piece, &mut scratch).is_err() {
            return Err(invalid(key, value));
        }
    }
    Ok(value)
}

pub(super) fn invalid(key: &'static str, value: &[u8]) -> LineError {
    LineError::Invalid { key, value: Excerpt::new(value) }
}

pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

const PIECE_BYTES: usize = 1024;
