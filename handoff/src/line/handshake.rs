//! The VERSION line, first in each direction on both sockets.

use super::field::{decimal, fields};
use super::{Excerpt, LineError};

/// What both sides of the `imap-hibernate` socket say first. The worker reads it with a single
/// `read()`, so it goes out in a single write with nothing behind it.
pub const HIBERNATE_VERSION: &[u8] = b"VERSION\timap-hibernate\t1\t0\n";

/// What both sides of the `imap-master` socket say first.
pub const MASTER_VERSION: &[u8] = b"VERSION\timap-master\t1\t0\n";

/// Checks a peer's VERSION line (without LF): exactly four fields, this service, major version 1;
/// the minor version may be any number.
pub fn check_version(line: &[u8], service: &str) -> Result<(), LineError> {
    assert!(!service.is_empty());
    let mut all = fields(line);
    let (Some(b"VERSION"), Some(name), Some(major), Some(minor), None) =
        (all.next(), all.next(), all.next(), all.next(), all.next())
    else {
        return Err(LineError::BadVersion(Excerpt::new(line)));
    };
    let (Some(major), Some(_)) = (decimal(major), decimal(minor)) else {
        return Err(LineError::BadVersion(Excerpt::new(line)));
    };
    if name != service.as_bytes() || major != 1 {
        return Err(LineError::WrongVersion(Excerpt::new(line)));
    }
    Ok(())
}
