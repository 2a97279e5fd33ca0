//! The UIDVALIDITY of new mailboxes: larger than any that this home ever gave out.
//!
//! A file of the home holds the last one, as text. Should it be lost the clock takes over, which
//! is ahead of it unless more than one mailbox a second was made since the epoch.

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc::O_NOFOLLOW;

use crate::StoreError;
use crate::folder::uninterrupted;

/// Gives out the next value. Its lock is the innermost of all.
pub fn next(root: &Path) -> Result<u32, StoreError> {
    let failed = StoreError::folder("the last UIDVALIDITY");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600).custom_flags(O_NOFOLLOW);
    let mut file = options.open(root.join(FILE)).map_err(&failed)?;
    // The lock goes with the file when it is closed.
    uninterrupted(|| file.lock()).map_err(&failed)?;
    let mut text = String::new();
    // A text that is none is as good as lost.
    let _ = file.read_to_string(&mut text);
    let last = text.trim().parse().unwrap_or(0_u32);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let next = last.saturating_add(1).max(u32::try_from(seconds).unwrap_or(u32::MAX));
    // Always of one length: a reader after a crash finds the old number or the new one.
    file.rewind().map_err(&failed)?;
    file.write_all(format!("{next:010}\n").as_bytes()).map_err(&failed)?;
    Ok(next)
}

const FILE: &str = "torpor.uidvalidity";
