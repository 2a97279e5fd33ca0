//! Content-Type and the fields that are written like it: RFC 2045 section 5.1, RFC 2183.
//!
//! Parameters that RFC 2231 splits or encodes are put together again but not decoded, behind the
//! others and in the order of their names, as Dovecot 2.3 shows them.

use std::collections::BTreeMap;

use super::token::{Token, Tokens};

/// A name with its value, as written.
pub type Parameter = (Vec<u8>, Vec<u8>);

/// The type of a part. `Default` is what RFC 2045 section 5.2 says of a part without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    pub kind: Vec<u8>,
    pub subtype: Vec<u8>,
    pub parameters: Vec<Parameter>,
}

impl Default for ContentType {
    fn default() -> Self {
        Self { kind: b"text".to_vec(), subtype: b"plain".to_vec(), parameters: Vec::new() }
    }
}

impl ContentType {
    /// `None` when it has no `type/subtype`, which RFC 2045 section 5.2 reads as text/plain.
    pub fn parse(value: &[u8]) -> Option<ContentType> {
        let mut tokens = Tokens::of_mime(value);
        let Some(Token::Atom(kind)) = tokens.word() else { return None };
        let Some(Token::Special(b'/')) = tokens.word() else { return None };
        let Some(Token::Atom(subtype)) = tokens.word() else { return None };
        Some(ContentType { kind, subtype, parameters: parameters(&mut tokens) })
    }

    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let named = |(key, _): &&Parameter| key.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().find(named).map(|(_, value)| value.as_slice())
    }
}

/// Content-Disposition: its type, which is empty when it is not there, and its parameters.
pub fn disposition(value: &[u8]) -> (Vec<u8>, Vec<Parameter>) {
    let mut tokens = Tokens::of_mime(value);
    let mut ahead = tokens.clone();
    let kind = match ahead.word() {
        Some(Token::Atom(kind)) => {
            tokens = ahead;
            kind
        }
        _ => Vec::new(),
    };
    (kind, parameters(&mut tokens))
}

/// The first word of a field such as Content-Transfer-Encoding.
pub fn first_word(value: &[u8]) -> Option<Vec<u8>> {
    match Tokens::of_mime(value).word()? {
        Token::Atom(word) | Token::Quoted(word) => Some(word),
        _ => None,
    }
}

/// Content-Language: its tags (RFC 3282).
pub fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let tags = Tokens::of_mime(value).filter_map(|token| match token {
        Token::Atom(tag) => Some(tag),
        _ => None,
    });
    tags.take(PARAMETERS_MAX).collect()
}

/// `;name=value`, as often as there are some; what is none is skipped to the next semicolon.
fn parameters(tokens: &mut Tokens<'_>) -> Vec<Parameter> {
    let (mut plain, mut extended) = (Vec::new(), BTreeMap::new());
    let mut token = tokens.word();
    while let Some(at) = token {
        token = tokens.word();
        if at != Token::Special(b';') || plain.len() + extended.len() >= PARAMETERS_MAX {
            continue;
        }
        let Some(Token::Atom(name)) = &token else { continue };
        let mut ahead = tokens.clone();
        if ahead.word() != Some(Token::Special(b'=')) {
            continue;
        }
        let Some((value, next)) = parameter_value(&mut ahead) else { continue };
        match Piece::of(name) {
            Some(piece) => drop(extended.insert(piece, value)),
            None => plain.push((name.clone(), value)),
        }
        (*tokens, token) = (ahead, next);
    }
    plain.extend(join(extended));
    plain
}

/// A value up to the semicolon, and that semicolon. RFC 2045 has specials quoted; a value that
/// is not (`boundary==_x`) is read all the same.
fn parameter_value(tokens: &mut Tokens<'_>) -> Option<(Vec<u8>, Option<Token>)> {
    let mut value = None;
    loop {
        match tokens.word() {
            Some(Token::Quoted(text)) if value.is_none() => value = Some(text),
            Some(Token::Atom(text) | Token::Literal(text)) => {
                value.get_or_insert_default().extend(text);
            }
            Some(Token::Special(byte)) if byte != b';' => value.get_or_insert_default().push(byte),
            Some(Token::Comment(_) | Token::Quoted(_)) => {}
            end => return value.map(|value| (value, end)),
        }
    }
}

/// One piece of an extended parameter: `name*`, `name*0` or `name*0*` (RFC 2231 sections 3, 4).
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    name: Vec<u8>,
    number: u32,
    is_encoded: bool,
}

impl Piece {
    fn of(name: &[u8]) -> Option<Piece> {
        let star = memchr::memchr(b'*', name)?;
        let (name, tail) = (&name[..star], &name[star + 1..]);
        let (digits, is_encoded) = match tail.strip_suffix(b"*") {
            Some(digits) => (digits, true),
            None => (tail, tail.is_empty()),
        };
        let number = match digits {
            b"" => 0,
            digits => std::str::from_utf8(digits).ok()?.parse().ok()?,
        };
        Some(Piece { name: name.to_ascii_lowercase(), number, is_encoded })
    }
}

/// The pieces of each name one behind the other, as `name*` if one of them is encoded.
fn join(pieces: BTreeMap<Piece, Vec<u8>>) -> Vec<Parameter> {
    let mut joined: Vec<(Vec<u8>, bool, Vec<u8>)> = Vec::new();
    for (piece, value) in pieces {
        match joined.last_mut().filter(|(name, ..)| *name == piece.name) {
            Some((_, is_encoded, text)) => {
                *is_encoded |= piece.is_encoded;
                text.extend(value);
            }
            None => joined.push((piece.name, piece.is_encoded, value)),
        }
    }
    let named = |(mut name, is_encoded, value): (Vec<u8>, bool, Vec<u8>)| {
        if is_encoded {
            name.push(b'*');
        }
        (name, value)
    };
    joined.into_iter().map(named).collect()
}

/// Parameters of one field; those behind them are not shown.
const PARAMETERS_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
