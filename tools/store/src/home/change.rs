//! Making, deleting and renaming mailboxes.
//!
//! A mailbox appears and goes by one rename of its folder, from or to a name that begins with
//! `..` and so is none. What a killed process leaves under such a name, the next one sweeps away.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Home;
use crate::folder::Folder;
use crate::{MailboxName, StoreError, file_name};

impl Home {
    /// Makes a mailbox. Its UIDVALIDITY will be larger than any that was given out before.
    pub fn create(&self, name: &MailboxName) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.create_locked(name)
    }

    /// Deletes a mailbox with its messages; those below it stay (RFC 3501 6.3.4).
    pub fn delete(&self, name: &MailboxName) -> Result<(), StoreError> {
        if name.is_inbox() {
            return Err(StoreError::Inbox);
        }
        let _lock = self.lock()?;
        if !self.exists(name) {
            return Err(StoreError::NotFound);
        }
        let folder = Folder::open(&self.path(name))?;
        // Whoever is at work in it finishes first, and whoever waits finds no mailbox.
        let _at_work = folder.lock()?;
        let aside = self.aside();
        fs::rename(self.path(name), &aside).map_err(StoreError::folder("deleting a mailbox"))?;
        remove_tree(&aside).map_err(StoreError::io("deleting a mailbox"))
    }

    /// Renames a mailbox and all below it. From INBOX the messages move to a new mailbox, and
    /// INBOX stays, empty (RFC 3501 6.3.5).
    ///
    /// Folders go one by one, the mailbox itself last: who asks again after a crash half-way
    /// renames the rest.
    pub fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        if from.is_inbox() {
            self.create_locked(to)?;
            let (mut inbox, mut new) = (self.open_mailbox(from)?, self.open_mailbox(to)?);
            let uids: Vec<u32> = inbox.messages().iter().map(|message| message.uid).collect();
            return inbox.copy(&uids, &mut new, true).map(drop);
        }
        if to.is_below(from) {
            return Err(StoreError::BadName { why: "below the mailbox that is renamed" });
        }
        let names = self.names()?;
        let mut moves = Vec::new();
        for name in names.iter().filter(|name| *name == from || name.is_below(from)) {
            moves.push((name, name.moved(from, to)?));
        }
        if moves.is_empty() {
            return Err(StoreError::NotFound);
        }
        if to.is_inbox() || moves.iter().any(|(_, new)| self.exists(new)) {
            return Err(StoreError::Exists);
        }
        for (old, new) in moves.iter().rev() {
            fs::rename(self.path(old), self.path(new))
                .map_err(StoreError::folder("renaming a mailbox"))?;
        }
        Ok(())
    }

    fn create_locked(&self, name: &MailboxName) -> Result<(), StoreError> {
        if self.exists(name) {
            return Err(StoreError::Exists);
        }
        let failed = StoreError::folder("making a mailbox");
        let aside = self.aside();
        for part in ["", "new", "cur", "tmp"] {
            DirBuilder::new().mode(0o700).create(aside.join(part)).map_err(&failed)?;
        }
        // The mark of Maildir++ for a folder that is no mail directory of its own.
        fs::write(aside.join("maildirfolder"), "").map_err(&failed)?;
        fs::rename(&aside, self.path(name)).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => StoreError::Exists,
            _ => failed(error),
        })
    }

    /// A path of the home that is nobody's mailbox.
    fn aside(&self) -> PathBuf {
        self.root.join(format!("{ASIDE}{}", file_name::unique(None)))
    }

    /// Removes what killed processes left aside. Failing that it stays, and costs only its space.
    pub(super) fn sweep(&self) {
        let is_aside = |name: &str| name.starts_with(ASIDE);
        let left = || -> std::io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(&self.root)?.flatten();
            let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_aside));
            Ok(left.map(|entry| entry.path()).collect())
        };
        let Ok(left) = left() else { return };
        if left.is_empty() {
            return;
        }
        // Under the lock nobody is at work aside.
        let Ok(_lock) = self.lock() else { return };
        for path in left {
            let _ = remove_tree(&path);
        }
    }
}

/// Removes a folder. Handles that were opened before may still put a file into it; then again.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    for _ in 0..REMOVALS_MAX {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            done => return done,
        }
    }
    Ok(())
}

const ASIDE: &str = "..torpor.";
const REMOVALS_MAX: usize = 5;
