//! What a value of a hibernate line is made of, and its bytes in the shortest usual form.
//!
//! Text is the kind of everything that no other kind gives back to the byte.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// As it came.
    Text,
    /// Decimal without leading zeros, up to 64 bits; its short form is a distance, see `pack`.
    Number,
    /// An even number of lower-case hexadecimal digits: half as many bytes.
    Hex,
    /// Four bytes.
    V4,
    /// Sixteen bytes.
    V6,
    /// Standard base64 with padding: three bytes for four.
    Base64,
}

impl Kind {
    /// The kind that suits `value`.
    pub fn of(value: &[u8]) -> Self {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if number(value).is_some() {
            Self::Number
        } else if let Some(address) = address(value) {
            if address.is_ipv4() { Self::V4 } else { Self::V6 }
        } else if value.len() >= HEX_BYTES_MIN
            && value.len().is_multiple_of(2)
            && value.iter().all(is_hex)
        {
            Self::Hex
        } else if is_base64(value) {
            Self::Base64
        } else {
            Self::Text
        }
    }

    /// Appends the short form of `value`, which must be of this kind; text and numbers have none
    /// of their own.
    pub fn shorten(self, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text | Self::Number => out.extend_from_slice(value),
            Self::Hex => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                out.extend(value.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])));
            }
            Self::V4 | Self::V6 => match address(value) {
                Some(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
                Some(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
                None => {}
            },
            Self::Base64 => {
                let start = out.len();
                out.resize(start + value.len() / 4 * 3, 0);
                let count = STANDARD.decode_slice(value, &mut out[start..]).unwrap_or(0);
                out.truncate(start + count);
            }
        }
    }

    /// Appends the value that a short form stands for. A form that is none gives another value,
    /// or none: the caller's checksum notices.
    pub fn restore(self, short: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text | Self::Number => out.extend_from_slice(short),
            Self::Hex => {
                let digits =
                    |byte: &u8| [byte >> 4, byte & 15].map(|four| DIGITS[usize::from(four)]);
                out.extend(short.iter().flat_map(digits));
            }
            Self::V4 => {
                for (index, byte) in short.iter().enumerate() {
                    if index > 0 {
                        out.push(b'.');
                    }
                    put_decimal(u64::from(*byte), out);
                }
            }
            Self::V6 => {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(short).unwrap_or([0; 16]));
                write!(out, "{address}").expect("a Vec takes everything");
            }
            Self::Base64 => {
                let start = out.len();
                out.resize(start + short.len().div_ceil(3) * 4, 0);
                STANDARD.encode_slice(short, &mut out[start..]).expect("room was made for it");
            }
        }
    }

    /// The kind of this code; unknown ones stand for text.
    pub fn from_code(code: u8) -> Self {
        const ALL: [Kind; 6] =
            [Kind::Text, Kind::Number, Kind::Hex, Kind::V4, Kind::V6, Kind::Base64];
        ALL.get(usize::from(code)).copied().unwrap_or(Self::Text)
    }
}

/// A decimal number in the spelling in which [`put_decimal`] writes it.
pub fn number(text: &[u8]) -> Option<u64> {
    if !matches!(text, b"0" | [b'1'..=b'9', ..]) {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Appends a number. Formatting does the same in ten times the time, and a line has a dozen.
pub fn put_decimal(mut number: u64, out: &mut Vec<u8>) {
    let (mut room, mut at) = ([0; NUMBER_BYTES_MAX], NUMBER_BYTES_MAX);
    loop {
        at -= 1;
        room[at] = DIGITS[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&room[at..]);
        }
    }
}

/// Only in the spelling in which it is written again; of IPv4 there is only one.
fn address(text: &[u8]) -> Option<IpAddr> {
    if text.len() > ADDRESS_BYTES_MAX || !text.iter().any(|byte| matches!(byte, b'.' | b':')) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let address: IpAddr = text.parse().ok()?;
    if address.is_ipv4() {
        return Some(address);
    }
    let mut room = [0; ADDRESS_BYTES_MAX];
    let mut left = &mut room[..];
    write!(left, "{address}").ok()?;
    let count = ADDRESS_BYTES_MAX - left.len();
    (&room[..count] == text.as_bytes()).then_some(address)
}

/// A path is none, though its letters may all be in the alphabet.
fn is_base64(value: &[u8]) -> bool {
    let mut room = [0; super::LINE_BYTES_MAX / 4 * 3];
    (BASE64_BYTES_MIN..=super::LINE_BYTES_MAX).contains(&value.len())
        && value.len().is_multiple_of(4)
        && value[0] != b'/'
        && STANDARD.decode_slice(value, &mut room).is_ok()
}

/// Shorter ones are as likely to be words.
const HEX_BYTES_MIN: usize = 16;
const BASE64_BYTES_MIN: usize = 16;
/// IPv6 with an IPv4 tail.
const ADDRESS_BYTES_MAX: usize = 48;
/// `u64::MAX`.
const NUMBER_BYTES_MAX: usize = 20;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_to_the_byte() {
        let cases: [(&[u8], Kind); 18] = [
            (b"", Kind::Text),
            (b"0", Kind::Number),
            (b"18446744073709551615", Kind::Number),
            (b"18446744073709551616", Kind::Hex),
            (b"007", Kind::Text),
            (b"+7", Kind::Text),
            (b"127.0.0.1", Kind::V4),
            (b"127.0.0.01", Kind::Text),
            (b"2001:db8::1", Kind::V6),
            (b"2001:DB8::1", Kind::Text),
            (b"::ffff:1.2.3.4", Kind::V6),
            (b"d54ffe50e7d6e496ea7d216a95154d783f3a9ceb", Kind::Hex),
            (b"D54FFE50E7D6E496EA7D216A95154D78", Kind::Base64),
            (b"2Y1Zt/JgArF/AAAB", Kind::Base64),
            (b"2Y1Zt/JgArF/AAE=", Kind::Base64),
            (b"2Y1Zt/JgArF/AAF=", Kind::Text),
            (b"/srv/mail/users1", Kind::Text),
            (b"\xff\xfe\x01n", Kind::Text),
        ];
        for (value, kind) in cases {
            assert_eq!(Kind::of(value), kind, "{}", value.escape_ascii());
            assert_eq!(Kind::from_code(kind as u8), kind);
            let (mut short, mut back) = (Vec::new(), Vec::new());
            kind.shorten(value, &mut short);
            kind.restore(&short, &mut back);
            assert_eq!(back, value, "{}", value.escape_ascii());
            back.clear();
            number(value).into_iter().for_each(|number| put_decimal(number, &mut back));
            assert_eq!(back, if kind == Kind::Number { value } else { b"" });
        }
    }
}
