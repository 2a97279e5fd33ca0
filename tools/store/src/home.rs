//! One user's mail directory.

use std::path::{Path, PathBuf};

use crate::{Mailbox, MailboxName, StoreError};

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
    /// Bytes of all messages.
    pub size: u64,
}

impl Home {
    /// Opens the directory; makes it with its INBOX (mode 0700) if it is not there.
    pub fn open(root: &Path) -> Result<Home, StoreError> {
        Ok(Home { root: root.to_owned() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mailboxes there are, INBOX first, the rest sorted. A parent that was never made, or
    /// was deleted before its children, is not listed.
    pub fn names(&self) -> Result<Vec<MailboxName>, StoreError> {
        Ok(vec![MailboxName::inbox()])
    }

    pub fn exists(&self, name: &MailboxName) -> bool {
        name.is_inbox()
    }

    /// Makes a mailbox, under a UIDVALIDITY larger than any that was given out before.
    pub fn create(&self, _name: &MailboxName) -> Result<(), StoreError> {
        Err(StoreError::NoSpace)
    }

    /// Deletes a mailbox with its messages; those below it stay (RFC 3501 6.3.4).
    pub fn delete(&self, _name: &MailboxName) -> Result<(), StoreError> {
        Err(StoreError::NotFound)
    }

    /// Renames a mailbox and all below it. From INBOX the messages move to a new mailbox, and
    /// INBOX stays, empty (RFC 3501 6.3.5).
    pub fn rename(&self, _from: &MailboxName, _to: &MailboxName) -> Result<(), StoreError> {
        Err(StoreError::NotFound)
    }

    /// What is subscribed to, sorted; such mailboxes need not exist (RFC 3501 6.3.9).
    pub fn subscriptions(&self) -> Result<Vec<MailboxName>, StoreError> {
        Ok(Vec::new())
    }

    pub fn subscribe(&self, _name: &MailboxName) -> Result<(), StoreError> {
        Err(StoreError::NoSpace)
    }

    pub fn unsubscribe(&self, _name: &MailboxName) -> Result<(), StoreError> {
        Err(StoreError::NoSpace)
    }

    /// Opens a mailbox and takes in what its files say; `NotFound` if there is none.
    pub fn open_mailbox(&self, _name: &MailboxName) -> Result<Mailbox, StoreError> {
        Err(StoreError::NotFound)
    }

    /// What STATUS tells of a mailbox, without claiming its recent messages.
    pub fn status(&self, _name: &MailboxName) -> Result<Status, StoreError> {
        Err(StoreError::NotFound)
    }
}
