//! What people read in a message: the words that SEARCH looks at, decoded by mail-parser.
//!
//! Headers are those of the message and of all parts inside of it. Bodies are the parts of the
//! types text and message, as RFC 3501 section 6.4.4 allows; what stands between parts is none.
//! Unknown charsets and encodings are read as UTF-8, with replacement characters where needed.

use std::borrow::Cow;

use chrono::NaiveDate;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue};

use super::Mail;
use super::content::first_word;
use super::header::{Field, field, fields};
use super::needle::Needle;
use super::string::collapse;
use super::tree::{Kind, Part};

impl Mail<'_> {
    /// SEARCH SUBJECT, FROM and their like: in such a field, as ENVELOPE shows its white space.
    pub fn has_in_envelope(&self, name: &str, needle: &Needle) -> bool {
        let mut named = fields(self.header()).filter(|field| field.is(name));
        named.any(|field| {
            let text = collapse(decoded(&field).as_bytes());
            needle.is_in(&String::from_utf8_lossy(&text))
        })
    }

    /// SEARCH HEADER: in a field of that name in the message's own header.
    pub fn has_in_field(&self, name: &str, needle: &Needle) -> bool {
        let mut named = fields(self.header()).filter(|field| field.is(name));
        named.any(|field| needle.is_in(&decoded(&field)))
    }

    /// SEARCH BODY.
    pub fn has_in_body(&self, needle: &Needle) -> bool {
        needle.is_in("") || self.tree().0.iter().any(|part| self.has_in_part(part, needle))
    }

    /// SEARCH TEXT: in a header, names of fields included, or a body.
    pub fn has_in_text(&self, needle: &Needle) -> bool {
        let has_in_header = |part: &Part| {
            let header = &self.text()[part.header.0.at..part.header.1.at];
            fields(header).any(|field| needle.is_in(&named(&field)))
        };
        self.tree().0.iter().any(has_in_header) || self.has_in_body(needle)
    }

    /// The day of the Date field in the sender's own time zone, if it can be read.
    pub fn sent_on(&self) -> Option<NaiveDate> {
        let value = field(self.header(), "Date")?.unfolded();
        let date = DateTime::parse_rfc822(&format!("{}\n", String::from_utf8_lossy(&value)))?;
        NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
    }

    fn has_in_part(&self, part: &Part, needle: &Needle) -> bool {
        let is_read = part.content_type.is_kind("text") || part.content_type.is_kind("message");
        if part.kind != Kind::Leaf || !is_read {
            return false;
        }
        let header = &self.text()[part.header.0.at..part.header.1.at];
        let body = &self.text()[part.body.0.at..part.body.1.at];
        let body = transfer_decoded(header, body);
        let charset = part.content_type.parameter("charset").and_then(charset_decoder);
        match charset {
            Some(decode) => needle.is_in(&decode(&body)),
            None => needle.is_in(&String::from_utf8_lossy(&body)),
        }
    }
}

/// What cannot be decoded is read as it stands.
fn transfer_decoded<'a>(header: &[u8], body: &'a [u8]) -> Cow<'a, [u8]> {
    let encoding = field(header, "Content-Transfer-Encoding");
    let encoding = encoding.and_then(|field| first_word(&field.unfolded())).unwrap_or_default();
    let decoded = match encoding.to_ascii_lowercase().as_slice() {
        b"base64" => base64_decode(body),
        b"quoted-printable" => quoted_printable_decode(body),
        _ => None,
    };
    decoded.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// The value with its encoded words decoded (RFC 2047), if it is not so long that trying each
/// `=?` in it takes long.
fn decoded<'a>(field: &Field<'a>) -> Cow<'a, str> {
    let value = field.unfolded();
    let is_decoded = value.len() <= DECODED_BYTES_MAX;
    if !is_decoded || memchr::memmem::find(&value, b"=?").is_none() {
        return match value {
            Cow::Borrowed(value) => String::from_utf8_lossy(value),
            Cow::Owned(value) => Cow::Owned(String::from_utf8_lossy(&value).into_owned()),
        };
    }
    let line = [&value, &b"\n"[..]].concat();
    match MessageStream::new(&line).parse_unstructured() {
        HeaderValue::Text(text) => Cow::Owned(text.into_owned()),
        _ => Cow::Borrowed(""),
    }
}

fn named(field: &Field<'_>) -> String {
    format!("{}: {}", String::from_utf8_lossy(field.name), decoded(field))
}

/// Longer values are searched as they are written.
const DECODED_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"\
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an =?iso-8859-1?b?Suly9G1l?=
Date: Sun, 1 Nov 2026 23:30:00 -0800
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9 um=
bruch
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PGI+U8O8w588L2I+
--b
Content-Type: application/x; name=file.bin

binary
--b
Content-Type: message/rfc822

Subject: nested

nested body
--b--
epilogue
";

    fn body(word: &str) -> bool {
        Mail::new(MAIL).has_in_body(&Needle::new(word))
    }

    fn text(word: &str) -> bool {
        Mail::new(MAIL).has_in_text(&Needle::new(word))
    }

    #[test]
    fn bodies_are_decoded() {
        assert!(body("CAFÉ umbruch") && body("<b>süß</b>") && body("Nested body") && body(""));
        for word in ["=E9", "PGI+", "binary", "preamble", "epilogue", "subject", "file.bin"] {
            assert!(!body(word), "{word}");
        }
    }

    #[test]
    fn texts_have_the_headers_of_all_parts() {
        assert!(text("subject: nested") && text("FILE.bin") && text("grüße an") && text("café"));
        assert!(!text("preamble"));
    }

    #[test]
    fn fields_are_decoded_and_those_of_parts_are_none() {
        let has = |name: &str, word: &str| Mail::new(MAIL).has_in_field(name, &Needle::new(word));
        assert!(has("subject", "GRÜSSE an Jérôme") || has("subject", "grüße an jérôme"));
        assert!(has("date", "") && !has("x-none", "") && !has("subject", "nested"));
    }

    #[test]
    fn a_value_of_nothing_but_beginnings_of_words_is_searched_as_it_is() {
        let header = format!("Subject: {}needle\n\n", "=?aa?q?x".repeat(100_000));
        assert!(Mail::new(header.as_bytes()).has_in_envelope("Subject", &Needle::new("xneedle")));
    }

    #[test]
    fn the_day_of_sending_is_the_senders() {
        assert_eq!(Mail::new(MAIL).sent_on(), NaiveDate::from_ymd_opt(2026, 11, 1));
        assert_eq!(Mail::new(b"Date: yesterday\n\n").sent_on(), None);
        assert_eq!(Mail::new(b"\n").sent_on(), None);
    }
}
