//! The name of a mailbox, checked once: whoever holds one cannot leave the user's directory.
//!
//! Names stay in modified UTF-7 (RFC 3501 5.1.3), on the wire and on disk, and `.` parts their
//! levels in both, as Maildir++ has it. So the folder of `A.B` is `.A.B`, and no name of a client
//! is ever a path: it has no `/`, no empty part (thus no `..`), no control character, and its
//! encoding is the only one of its text, so that two names are never one mailbox.

use std::fmt;

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use crate::StoreError;

/// Ordered by its bytes, INBOX first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MailboxName(String);

impl MailboxName {
    pub const SEPARATOR: char = '.';
    /// `.` before it and what a deletion adds after it still fit a file name of 255 bytes.
    pub const BYTES_MAX: usize = 200;

    pub fn inbox() -> MailboxName {
        MailboxName(INBOX.to_owned())
    }

    /// Takes a name as it comes over the wire; any case of INBOX is INBOX.
    pub fn parse(text: &str) -> Result<MailboxName, StoreError> {
        if text.eq_ignore_ascii_case(INBOX) {
            return Ok(MailboxName::inbox());
        }
        let bad = |why| Err(StoreError::BadName { why });
        if text.len() > MailboxName::BYTES_MAX {
            return bad("too long");
        }
        if let Some(byte) = text.bytes().find(|byte| !(b' '..=b'~').contains(byte)) {
            return bad(if byte < b' ' { "control character" } else { "not in modified UTF-7" });
        }
        if text.contains('/') {
            return bad("'/' in it");
        }
        if text.contains(['*', '%']) {
            return bad("wildcard in it");
        }
        if text.split(MailboxName::SEPARATOR).any(str::is_empty) {
            return bad("empty part");
        }
        match is_utf7(text) {
            true => Ok(MailboxName(text.to_owned())),
            false => bad("not in modified UTF-7"),
        }
    }

    /// The name in modified UTF-7.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }

    /// The name one level up, if this is not on the first.
    pub fn parent(&self) -> Option<MailboxName> {
        let (above, _) = self.0.rsplit_once(MailboxName::SEPARATOR)?;
        MailboxName::parse(above).ok()
    }

    /// True if `self` lies below `above`, on whatever level.
    pub fn is_below(&self, above: &MailboxName) -> bool {
        self.0.strip_prefix(&above.0).is_some_and(|rest| rest.starts_with(MailboxName::SEPARATOR))
    }

    /// This name, which lies below `from`, at the same place below `to`.
    pub(crate) fn moved(
        &self,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<MailboxName, StoreError> {
        let rest = self.0.strip_prefix(&from.0).expect("a name below another begins with it");
        MailboxName::parse(&format!("{}{rest}", to.0))
    }

    /// The folder below the user's directory: itself for INBOX.
    pub(crate) fn folder(&self) -> String {
        if self.is_inbox() { ".".to_owned() } else { format!(".{}", self.0) }
    }

    /// The name that a folder of the user's directory stands for, if it is a mailbox's.
    pub(crate) fn of_folder(folder: &str) -> Option<MailboxName> {
        let name = MailboxName::parse(folder.strip_prefix('.')?).ok()?;
        (!name.is_inbox()).then_some(name)
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Ord for MailboxName {
    fn cmp(&self, other: &MailboxName) -> std::cmp::Ordering {
        (!self.is_inbox(), &self.0).cmp(&(!other.is_inbox(), &other.0))
    }
}

impl PartialOrd for MailboxName {
    fn partial_cmp(&self, other: &MailboxName) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// True if every shift of the printable ASCII text is closed and the only way to say its text.
fn is_utf7(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let Some(end) = rest[at..].find('-') else { return false };
        let shifted = &rest[at + 1..at + end];
        if !shifted.is_empty() && !is_shifted(shifted) {
            return false;
        }
        rest = &rest[at + end + 1..];
        // Two shifts in a row would be a second way to say what one says.
        if !shifted.is_empty() && rest.starts_with('&') && !rest.starts_with("&-") {
            return false;
        }
    }
    true
}

/// What stands between `&` and `-`: UTF-16 of characters that printable ASCII cannot say.
fn is_shifted(encoded: &str) -> bool {
    let Ok(bytes) = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD).decode(encoded) else { return false };
    let (units, odd) = bytes.as_chunks::<2>();
    let mut characters = char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)));
    odd.is_empty()
        && characters
            .all(|read| read.is_ok_and(|one| !one.is_control() && !(' '..='~').contains(&one)))
}

const INBOX: &str = "INBOX";

#[cfg(test)]
mod tests;
