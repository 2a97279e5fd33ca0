//! What stands in a response, whatever the way in which it is written: quoted or as a literal.

use std::fmt;

/// A value of IMAP's data formats (RFC 3501 section 4).
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Atom(String),
    List(Vec<Value>),
    Text(Vec<u8>),
}

impl Value {
    /// All values of a response.
    pub fn all(response: &[u8]) -> Vec<Value> {
        let mut reader = Reader { rest: response };
        let values = reader.values();
        assert!(reader.rest.is_empty(), "ends early: {}", String::from_utf8_lossy(response));
        values
    }

    /// The items of a FETCH response: its sequence number, names and values.
    pub fn fetch(response: &[u8]) -> Option<(u32, Vec<(String, Value)>)> {
        let values = Value::all(response);
        let [Value::Atom(number), Value::Atom(word), Value::List(items)] = values.as_slice() else {
            return None;
        };
        if word != "FETCH" {
            return None;
        }
        let pairs = items.chunks(2).map(|pair| match pair {
            [Value::Atom(name), value] => (name.to_ascii_uppercase(), value.clone()),
            other => panic!("no item: {other:?}"),
        });
        Some((number.parse().ok()?, pairs.collect()))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Atom(text) => out.write_str(text),
            Value::List(values) => {
                out.write_str("(")?;
                for (at, value) in values.iter().enumerate() {
                    write!(out, "{}{value:?}", if at > 0 { " " } else { "" })?;
                }
                out.write_str(")")
            }
            Value::Text(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// Up to the end or a closing parenthesis, which stays.
    fn values(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            match self.rest.first() {
                None | Some(b')') => return values,
                Some(b' ') => self.skip(1),
                Some(b'(') => {
                    self.skip(1);
                    values.push(Value::List(self.values()));
                    assert_eq!(self.rest.first(), Some(&b')'), "a list ends");
                    self.skip(1);
                }
                Some(b'"') => values.push(self.quoted()),
                Some(b'{') => values.push(self.literal()),
                Some(_) => values.push(self.atom()),
            }
        }
    }

    fn quoted(&mut self) -> Value {
        let mut text = Vec::new();
        self.skip(1);
        loop {
            match *self.rest {
                [b'"', ..] => break,
                [b'\\', byte, ..] => {
                    text.push(byte);
                    self.skip(2);
                }
                [byte, ..] => {
                    assert!(byte < 0x80 && !b"\r\n\0".contains(&byte), "no quoted-char: {byte}");
                    text.push(byte);
                    self.skip(1);
                }
                [] => panic!("a quoted string ends"),
            }
        }
        self.skip(1);
        Value::Text(text)
    }

    fn literal(&mut self) -> Value {
        let end = self.rest.iter().position(|byte| *byte == b'}').expect("a literal's size");
        let size = String::from_utf8_lossy(&self.rest[1..end]).parse().expect("a number");
        self.skip(end + b"}\r\n".len());
        let text = self.rest[..size].to_vec();
        self.skip(size);
        Value::Text(text)
    }

    /// `BODY[HEADER.FIELDS (A "B")]<0>` is one, in capitals and without its quotes.
    fn atom(&mut self) -> Value {
        let mut depth = 0;
        let ends = |byte: &u8| {
            depth += i32::from(*byte == b'[') - i32::from(*byte == b']');
            depth == 0 && b" ()".contains(byte)
        };
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let text = String::from_utf8_lossy(&self.rest[..end]).replace('"', "");
        self.skip(end);
        Value::Atom(text)
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }
}

#[test]
fn both_forms_of_a_string_are_one_value() {
    let quoted = Value::fetch(b"7 FETCH (BODY[HEADER.FIELDS (\"A\" b)]<0> \"x\\\"\" FLAGS ())");
    let literal = Value::fetch(b"7 FETCH (BODY[HEADER.FIELDS (A B)]<0> {2}\r\nx\" FLAGS ())");
    assert!(quoted.is_some());
    assert_eq!(quoted, literal);
}
