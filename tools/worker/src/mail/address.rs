//! Address lists (RFC 5322 section 3.4) as ENVELOPE shows them (RFC 3501 section 7.4.2).
//!
//! A group begins with an address that has a name in place of its mailbox and no host, and ends
//! with one that has neither; so an address whose mailbox or domain is missing must not have NIL
//! there. It gets the words that Dovecot 2.3 puts in their place.

use imap_codec::imap_types::core::NString;
use imap_codec::imap_types::envelope::Address;

use super::string::{ascii, nstring};
use super::token::{Token, Tokens};

/// The addresses of an unfolded value, in its order. Nothing is refused: what is no address shows
/// as far as it can be read.
pub fn addresses(value: &[u8]) -> Vec<Address<'static>> {
    let mut list = List::default();
    let mut tokens = Tokens::of_addresses(value);
    while let Some(token) = tokens.next() {
        match token {
            Token::Comment(comment) => list.comment = Some(comment),
            Token::Special(b',') => list.end_address(),
            Token::Special(b':') if !list.in_group => list.begin_group(),
            Token::Special(b';') => list.end_group(),
            Token::Special(b'<') => list.angle(&mut tokens),
            Token::Special(b'@') => list.domain = Some(domain(&mut tokens, &mut list.comment)),
            other => list.phrase.push(other),
        }
        if list.addresses.len() + list.domain.iter().len() >= ADDRESSES_MAX {
            break;
        }
    }
    list.end_address();
    if list.in_group {
        list.end_group();
    }
    list.addresses
}

/// What has been read of a list.
#[derive(Default)]
struct List {
    addresses: Vec<Address<'static>>,
    in_group: bool,
    /// Of the address that is being read, as all that follows.
    phrase: Phrase,
    domain: Option<Vec<u8>>,
    comment: Option<Vec<u8>>,
    /// True exactly when it has been pushed, but the comma behind it has not come.
    is_done: bool,
}

impl List {
    /// `local@domain`, a phrase alone, or nothing, after which a comma came.
    fn end_address(&mut self) {
        let (phrase, domain) = (std::mem::take(&mut self.phrase), self.domain.take());
        let comment = self.comment.take();
        if std::mem::take(&mut self.is_done) || (phrase.is_empty() && domain.is_none()) {
            return;
        }
        let (name, mailbox) = match domain {
            None if phrase.0.len() > 1 => (Some(phrase.words()), None),
            _ => (comment, Some(phrase.joined())),
        };
        self.push(name, None, mailbox, domain);
    }

    /// `phrase <@route:local@domain>`; the tokens stand behind the `<`.
    fn angle(&mut self, tokens: &mut Tokens<'_>) {
        let (name, mut local) = (std::mem::take(&mut self.phrase), Phrase::default());
        let (mut host, mut route) = (None, None);
        while let Some(token) = tokens.word() {
            match token {
                Token::Special(b'>') => break,
                Token::Special(b'@') if local.is_empty() && host.is_none() => {
                    route = Some(source_route(tokens));
                }
                Token::Special(b'@') => host = Some(domain(tokens, &mut None)),
                other => local.push(other),
            }
        }
        let name = if name.is_empty() { self.comment.take() } else { Some(name.words()) };
        self.push(name, route, Some(local.joined()), host);
        self.is_done = true;
    }

    fn begin_group(&mut self) {
        self.in_group = true;
        let name = std::mem::take(&mut self.phrase).words();
        let nil = || NString(None);
        let mailbox = nstring(Some(name));
        self.addresses.push(Address { name: nil(), adl: nil(), mailbox, host: nil() });
    }

    fn end_group(&mut self) {
        self.end_address();
        if std::mem::take(&mut self.in_group) {
            let nil = || NString(None);
            self.addresses.push(Address { name: nil(), adl: nil(), mailbox: nil(), host: nil() });
        }
    }

    fn push(
        &mut self,
        name: Option<Vec<u8>>,
        route: Option<Vec<u8>>,
        mailbox: Option<Vec<u8>>,
        domain: Option<Vec<u8>>,
    ) {
        let or = |text: Option<Vec<u8>>, missing| match text.filter(|text| !text.is_empty()) {
            Some(text) => nstring(Some(text)),
            None => NString(Some(ascii(missing))),
        };
        self.addresses.push(Address {
            name: nstring(name.filter(|name| !name.is_empty())),
            adl: nstring(route),
            mailbox: or(mailbox, MISSING_MAILBOX),
            host: or(domain, MISSING_DOMAIN),
        });
    }
}

/// The atoms, quoted strings and dots of a phrase or a local part.
#[derive(Default)]
struct Phrase(Vec<Token>);

impl Phrase {
    fn push(&mut self, token: Token) {
        self.0.push(token);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a name: a space between words, none before a dot.
    fn words(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for token in &self.0 {
            if !text.is_empty() && !matches!(token, Token::Special(_)) {
                text.push(b' ');
            }
            text.extend_from_slice(&bytes(token));
        }
        text
    }

    /// As a local part: nothing between words.
    fn joined(&self) -> Vec<u8> {
        self.0.iter().flat_map(bytes).collect()
    }
}

fn bytes(token: &Token) -> Vec<u8> {
    match token {
        Token::Atom(text) | Token::Comment(text) | Token::Literal(text) | Token::Quoted(text) => {
            text.clone()
        }
        Token::Special(byte) => vec![*byte],
    }
}

/// What stands behind an `@`: atoms and dots, or one literal. Leaves the token that ends it.
fn domain(tokens: &mut Tokens<'_>, comment: &mut Option<Vec<u8>>) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        let mut ahead = tokens.clone();
        match ahead.next() {
            Some(Token::Atom(part) | Token::Literal(part) | Token::Quoted(part)) => {
                text.extend_from_slice(&part);
            }
            Some(Token::Special(b'.')) => text.push(b'.'),
            Some(Token::Comment(words)) => *comment = Some(words),
            _ => return text,
        }
        *tokens = ahead;
    }
}

/// `@a,@b:` with the first `@` read already (RFC 5322 section 4.4), as `@a,@b`.
fn source_route(tokens: &mut Tokens<'_>) -> Vec<u8> {
    let mut route = [b"@", &domain(tokens, &mut None)[..]].concat();
    loop {
        let mut ahead = tokens.clone();
        match ahead.word() {
            Some(Token::Special(b',')) => route.push(b','),
            Some(Token::Special(b'@')) => {
                route.push(b'@');
                route.extend(domain(&mut ahead, &mut None));
            }
            Some(Token::Special(b':')) => {
                *tokens = ahead;
                return route;
            }
            _ => return route,
        }
        *tokens = ahead;
    }
}

const MISSING_MAILBOX: &str = "MISSING_MAILBOX";
const MISSING_DOMAIN: &str = "MISSING_DOMAIN";

/// Addresses of one field; those behind them are not shown. Each costs about 200 bytes in memory.
pub const ADDRESSES_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
