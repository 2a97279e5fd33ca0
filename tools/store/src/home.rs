//! One user's mail directory.

mod change;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::folder::{Folder, uninterrupted};
use crate::{Flags, Mailbox, MailboxName, StoreError};

/// The root of a Maildir++: INBOX lies in it, every other mailbox in a `.NAME` beside.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// What STATUS tells (RFC 3501 6.3.10, RFC 7162 3.1.2.1, RFC 8438).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub messages: u32,
    pub recent: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub uid_next: u32,
    pub uid_validity: u32,
    pub highest_modseq: u64,
}

impl Home {
    /// Opens the directory; makes it with its INBOX (mode 0700) if it is not there.
    pub fn open(root: &Path) -> Result<Home, StoreError> {
        let failed = StoreError::io("opening a mail directory");
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(&failed)?;
        let home = Home { root: fs::canonicalize(root).map_err(&failed)? };
        Folder::open(&home.root)?;
        home.sweep();
        Ok(home)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mailboxes there are, INBOX first, the rest sorted. A parent that was never made, or
    /// was deleted before its children, is not listed.
    pub fn names(&self) -> Result<Vec<MailboxName>, StoreError> {
        let failed = StoreError::io("listing mailboxes");
        let mut names = vec![MailboxName::inbox()];
        for entry in fs::read_dir(&self.root).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            names.extend(name.to_str().filter(|_| is_folder).and_then(MailboxName::of_folder));
        }
        names.sort();
        Ok(names)
    }

    pub fn exists(&self, name: &MailboxName) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok_and(|stat| stat.is_dir())
    }

    /// Opens a mailbox and takes in what its files say; `NotFound` if there is none.
    pub fn open_mailbox(&self, name: &MailboxName) -> Result<Mailbox, StoreError> {
        Mailbox::open(&self.root, &self.path(name))
    }

    /// What STATUS tells of a mailbox, without claiming its recent messages.
    pub fn status(&self, name: &MailboxName) -> Result<Status, StoreError> {
        Ok(self.open_mailbox(name)?.status())
    }

    fn path(&self, name: &MailboxName) -> PathBuf {
        // Joining "." would keep the path of INBOX another one than the root.
        if name.is_inbox() { self.root.clone() } else { self.root.join(name.folder()) }
    }

    /// The right to make, remove and rename mailboxes, until the file is dropped. It is the
    /// outermost of all locks.
    fn lock(&self) -> Result<File, StoreError> {
        let failed = StoreError::folder("locking a mail directory");
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.create(true).append(true), 0o600);
        let file = options.open(self.root.join(LOCK_FILE)).map_err(&failed)?;
        uninterrupted(|| file.lock()).map_err(&failed)?;
        Ok(file)
    }
}

impl Mailbox {
    /// What STATUS tells, as of the last refresh.
    pub fn status(&self) -> Status {
        let count = |test: &dyn Fn(Flags) -> bool| {
            self.messages().iter().filter(|message| test(message.flags)).count() as u32
        };
        Status {
            messages: self.messages().len() as u32,
            recent: self.recent(),
            unseen: count(&|flags| !flags.contains(Flags::SEEN)),
            deleted: count(&|flags| flags.contains(Flags::DELETED)),
            uid_next: self.uid_next(),
            uid_validity: self.uid_validity(),
            highest_modseq: self.highest_modseq(),
        }
    }

    /// Bytes of all messages (RFC 8438). Those that another program delivered are read for it.
    pub fn total_size(&self) -> Result<u64, StoreError> {
        self.messages().iter().try_fold(0, |sum, message| match self.size(message.uid) {
            Ok(size) => Ok(sum + size),
            Err(StoreError::Expunged) => Ok(sum),
            Err(error) => Err(error),
        })
    }
}

const LOCK_FILE: &str = "torpor.home";
