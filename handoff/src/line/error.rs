//! What a peer can do wrong in a line. Every text fits a reply and a log line.

use std::fmt;

/// Why a line was refused. The text is what follows `-Failed to parse client input: ` in Dovecot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The worker wrote an escape that no Dovecot writes. Refused because a decoder turns
    /// `0x01 c` into `c`: a key could hide from us and still reach the next reader.
    #[error("Invalid escape in input: {0}")]
    BadEscape(Excerpt),
    /// The peer's first line is not four fields beginning with `VERSION`.
    #[error("Invalid VERSION line: {0}")]
    BadVersion(Excerpt),
    /// The worker sent a value that is out of range or no number, address or base64.
    #[error("Invalid {key} value: {value}")]
    Invalid { key: &'static str, value: Excerpt },
    /// The worker sent no second positional field.
    #[error("Missing mail_log_prefix in input")]
    MissingLogPrefix,
    /// The worker sent no `tag`; only a session in IDLE hibernates, and it has one.
    #[error("Missing tag")]
    MissingTag,
    /// The worker sent no first field, or an empty one.
    #[error("Missing username in input")]
    MissingUsername,
    /// The worker sent a NUL, plain or escaped; no field is allowed to hold one.
    #[error("NUL byte in input")]
    NulByte,
    /// The peer speaks another protocol or another major version of this one.
    #[error("Wrong VERSION: {0}")]
    WrongVersion(Excerpt),
}

/// The first bytes of a peer's text: at most 48, printable ASCII, everything else as `?`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; EXCERPT_BYTES_MAX],
    count: u8,
}

impl Excerpt {
    pub fn new(text: &[u8]) -> Self {
        let mut excerpt = Self { bytes: [0; EXCERPT_BYTES_MAX], count: 0 };
        for (to, &byte) in excerpt.bytes.iter_mut().zip(text) {
            *to = if byte == b' ' || byte.is_ascii_graphic() { byte } else { b'?' };
            excerpt.count += 1;
        }
        assert!(usize::from(excerpt.count) <= EXCERPT_BYTES_MAX);
        excerpt
    }

    pub fn as_str(&self) -> &str {
        let printable = &self.bytes[..usize::from(self.count)];
        std::str::from_utf8(printable).expect("new() keeps ASCII only")
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

const EXCERPT_BYTES_MAX: usize = 48;
