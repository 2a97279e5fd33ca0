//! The words of a structured field: RFC 5322 section 3.2 and RFC 2045 section 5.1.
//!
//! mail-parser decodes encoded words and parameters, while ENVELOPE and BODYSTRUCTURE show them as
//! they are written; so those two are read with these tokens, and mail-parser decodes for SEARCH.

/// One token; quotes, escapes and the parentheses of comments are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A run of bytes that are no special, space or control.
    Atom(Vec<u8>),
    /// (…); nested ones keep their parentheses.
    Comment(Vec<u8>),
    /// […] with its brackets.
    Literal(Vec<u8>),
    /// "…"
    Quoted(Vec<u8>),
    /// One byte of the specials.
    Special(u8),
}

/// Cuts an unfolded value into tokens. Every input gives some: what is not closed ends at the end.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
    specials: &'static [u8],
}

impl<'a> Tokens<'a> {
    /// The tokens of addresses.
    pub fn of_addresses(value: &'a [u8]) -> Tokens<'a> {
        Tokens { rest: value, specials: b"<>@,;:.\\]" }
    }

    /// The tokens of Content-Type and the fields like it.
    pub fn of_mime(value: &'a [u8]) -> Tokens<'a> {
        Tokens { rest: value, specials: b"<>@,;:\\/[]?=" }
    }

    /// The next token that is no comment.
    pub fn word(&mut self) -> Option<Token> {
        self.find(|token| !matches!(token, Token::Comment(_)))
    }

    fn enclosed(&mut self, close: u8) -> Vec<u8> {
        let open = self.rest[0];
        let (mut text, mut depth, mut at) = (Vec::new(), 1, 1);
        while let Some(byte) = self.rest.get(at) {
            at += 1;
            match *byte {
                b'\\' if at < self.rest.len() => {
                    text.push(self.rest[at]);
                    at += 1;
                    continue;
                }
                byte if byte == close => depth -= 1,
                byte if byte == open => depth += 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            text.push(*byte);
        }
        self.rest = &self.rest[at..];
        text
    }

    fn atom(&mut self) -> Vec<u8> {
        let specials = self.specials;
        let ends = |byte: &u8| {
            specials.contains(byte) || b"\"()".contains(byte) || byte.is_ascii_whitespace()
        };
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(end.max(1));
        self.rest = rest;
        atom.to_vec()
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.rest = self.rest.trim_ascii_start();
        let first = *self.rest.first()?;
        Some(match first {
            b'"' => Token::Quoted(self.enclosed(b'"')),
            b'(' => Token::Comment(self.enclosed(b')')),
            b'[' if !self.specials.contains(&b'[') => {
                Token::Literal([b"[", &self.enclosed(b']')[..], b"]"].concat())
            }
            _ if self.specials.contains(&first) => {
                self.rest = &self.rest[1..];
                Token::Special(first)
            }
            _ => Token::Atom(self.atom()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(text: &str) -> Token {
        Token::Atom(text.into())
    }

    #[test]
    fn an_address_is_cut_into_its_tokens() {
        let value = br#"J. "a \"b\" c" (x (y) \)) <j@[::1]>"#;
        let tokens: Vec<Token> = Tokens::of_addresses(value).collect();
        let expected = [
            atom("J"),
            Token::Special(b'.'),
            Token::Quoted(b"a \"b\" c".to_vec()),
            Token::Comment(b"x (y) )".to_vec()),
            Token::Special(b'<'),
            atom("j"),
            Token::Special(b'@'),
            Token::Literal(b"[::1]".to_vec()),
            Token::Special(b'>'),
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn a_parameter_is_cut_into_its_tokens() {
        let tokens: Vec<Token> = Tokens::of_mime(b"text/x.y; a*0=b(c)").collect();
        let special = Token::Special;
        let comment = Token::Comment(b"c".to_vec());
        let expected = [
            atom("text"),
            special(b'/'),
            atom("x.y"),
            special(b';'),
            atom("a*0"),
            special(b'='),
            atom("b"),
            comment,
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn what_is_not_closed_ends_at_the_end() {
        for text in ["\"", "(", "[", "\"a\\", "((a)", ")", "\\"] {
            assert_eq!(Tokens::of_addresses(text.as_bytes()).count(), 1, "{text}");
        }
    }
}
