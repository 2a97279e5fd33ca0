//! What a worker on `imap-master` answers to a request.

/// At most this much of a refusal is kept, for the log.
pub const REASON_BYTES_MAX: usize = 256;

/// The verdict, clear from the first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+`, whatever follows: the client is the worker's.
    Taken,
    /// Anything else: the worker has not touched the client and never will. The text has lost its
    /// first byte and everything from CR or LF on, and is bounded to 256 bytes.
    Refused(&'a [u8]),
}

/// Reads the bytes got so far; `None` as long as there are none.
pub fn parse_reply(bytes: &[u8]) -> Option<Reply<'_>> {
    let (&first, rest) = bytes.split_first()?;
    if first == b'+' {
        return Some(Reply::Taken);
    }
    let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r').unwrap_or(rest.len());
    let text = &rest[..end.min(REASON_BYTES_MAX)];
    assert!(text.len() <= REASON_BYTES_MAX);
    Some(Reply::Refused(text))
}
