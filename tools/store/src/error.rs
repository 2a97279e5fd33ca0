//! Why the store could not do what it was asked for.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// Each variant says who must act: the client (names, missing things), the host (space, I/O).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The client's name of a mailbox is not one that can be kept.
    #[error("mailbox name: {why}")]
    BadName { why: &'static str },
    /// A file of the store's own says something impossible. Opening the mailbox again rebuilds
    /// it under a new UIDVALIDITY; the handle that met this is of no further use.
    #[error("{} is damaged: {why}", file.display())]
    Damaged { file: PathBuf, why: &'static str },
    #[error("the mailbox exists already")]
    Exists,
    /// The message has gone, by whoever's hand.
    #[error("the message has been expunged")]
    Expunged,
    /// The INBOX can be emptied and renamed, never deleted (RFC 3501 6.3.4).
    #[error("INBOX cannot be deleted")]
    Inbox,
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    /// Disk, quota or file size limit. Nothing was changed.
    #[error("no space left for mail")]
    NoSpace,
    /// There is no such mailbox, or it was deleted under the caller.
    #[error("there is no such mailbox")]
    NotFound,
    #[error("too many {what}")]
    TooMany { what: &'static str },
}

impl StoreError {
    /// For `map_err`: a failed call by what it was meant to do.
    pub(crate) fn io<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> StoreError {
        move |source| {
            let source = source.into();
            match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => StoreError::NoSpace,
                _ => StoreError::Io { what, source },
            }
        }
    }

    /// As `io`, for calls on a mailbox's folder: a folder that is not there is no mailbox.
    pub(crate) fn folder<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> StoreError {
        move |source| {
            let source = source.into();
            match source.kind() {
                io::ErrorKind::NotFound => StoreError::NotFound,
                _ => StoreError::io(what)(source),
            }
        }
    }
}
