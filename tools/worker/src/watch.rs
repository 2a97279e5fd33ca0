//! Hearing of changes to a mailbox, while a client idles.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// An inotify instance of its own on both directories of a mailbox; it is what the engine gets
/// when the client is handed over.
#[derive(Debug)]
pub struct Watch(Inotify);

impl Watch {
    /// EMFILE: this user has no instance left (`fs.inotify.max_user_instances`).
    pub fn new(paths: &[PathBuf; 2]) -> nix::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        for path in paths {
            inotify.add_watch(path, mask())?;
        }
        Ok(Self(inotify))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads what has come; only that something has come matters. True if anything had.
    pub fn drain(&self) -> bool {
        let mut any = false;
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {
            any = true;
        }
        any
    }
}

/// The mask of Dovecot.
fn mask() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MODIFY
}
