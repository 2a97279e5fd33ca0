//! An open mailbox.

use std::io::Read;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::{FlagChange, Flags, StoreError};

/// One message as the index knows it.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub uid: u32,
    pub flags: Flags,
    /// The modseq of its last change (RFC 7162).
    pub modseq: u64,
}

/// What became of a change of flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// UIDs whose flags differ now, ascending.
    pub changed: Vec<u32>,
    /// UIDs left alone since they changed after `unchanged_since` (RFC 7162 MODIFIED), ascending.
    pub modified: Vec<u32>,
}

/// A handle of one mailbox: its messages as of the last call that looked, no lock held between.
#[derive(Debug)]
pub struct Mailbox {
    folder: PathBuf,
    messages: Vec<Message>,
    keywords: Vec<String>,
}

impl Mailbox {
    /// Takes in what the files and other handles say; three stats when nothing changed.
    pub fn refresh(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Claims what no session has claimed: these messages are \Recent for the caller alone.
    /// Moves the files from new/ to cur/.
    pub fn claim_recent(&mut self) -> Result<Option<RangeInclusive<u32>>, StoreError> {
        Ok(None)
    }

    /// The number of a keyword, given out now if the mailbox does not know it yet; None if it has
    /// `Flags::KEYWORDS_MAX` others.
    pub fn keyword(&mut self, _name: &str) -> Result<Option<u8>, StoreError> {
        Ok(None)
    }

    /// STORE: changes the flags of the messages that are there and, with `unchanged_since`, have
    /// no higher modseq. All that change get one new modseq.
    pub fn change_flags(
        &mut self,
        _uids: &[u32],
        _how: FlagChange,
        _flags: Flags,
        _unchanged_since: Option<u64>,
    ) -> Result<Changed, StoreError> {
        Ok(Changed::default())
    }

    /// Removes messages, whatever their flags; the UIDs that went, ascending.
    pub fn expunge(&mut self, _uids: &[u32]) -> Result<Vec<u32>, StoreError> {
        Ok(Vec::new())
    }

    /// Stores a message of `size` bytes and answers its UID. `date` is its INTERNALDATE in
    /// seconds since the epoch. A body that ends early stores nothing.
    pub fn append(
        &mut self,
        _body: &mut dyn Read,
        _size: u64,
        _flags: Flags,
        _date: Option<i64>,
    ) -> Result<u32, StoreError> {
        Err(StoreError::NoSpace)
    }

    /// COPY, or MOVE with `remove`, in ascending order: (UID here, UID there) for each message
    /// that was there. Flags, keywords and date go with it. All or none.
    pub fn copy(
        &mut self,
        _uids: &[u32],
        _to: &mut Mailbox,
        _remove: bool,
    ) -> Result<Vec<(u32, u32)>, StoreError> {
        Ok(Vec::new())
    }

    /// Opens a message's file, wherever it is now.
    pub fn open_message(&self, _uid: u32) -> Result<MessageFile, StoreError> {
        Err(StoreError::Expunged)
    }

    /// RFC822.SIZE in bytes, without opening the file where its name tells it.
    pub fn size(&self, _uid: u32) -> Result<u64, StoreError> {
        Err(StoreError::Expunged)
    }

    pub fn uid_validity(&self) -> u32 {
        1
    }

    pub fn uid_next(&self) -> u32 {
        1
    }

    pub fn highest_modseq(&self) -> u64 {
        1
    }

    /// All messages by ascending UID.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub fn find(&self, uid: u32) -> Option<&Message> {
        let at = self.messages.binary_search_by_key(&uid, |message| message.uid).ok()?;
        Some(&self.messages[at])
    }

    /// The UIDs that went after `modseq`, sorted and disjoint. May name some that went before, and
    /// some that never were: callers who know what their client has leave those out.
    pub fn expunged_since(&self, _modseq: u64) -> Vec<RangeInclusive<u32>> {
        Vec::new()
    }

    /// The names of the keywords by their number.
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// The folders whose change means that `refresh` will find something: new/ and cur/.
    pub fn watch_paths(&self) -> [PathBuf; 2] {
        ["new", "cur"].map(|name| self.folder.join(name))
    }
}

/// A message's file, open: what happens to its name does not matter any more.
#[derive(Debug)]
pub struct MessageFile {
    size: u64,
    internal_date: i64,
}

impl MessageFile {
    /// Bytes (RFC822.SIZE).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Seconds since the epoch.
    pub fn internal_date(&self) -> i64 {
        self.internal_date
    }

    pub fn read(&mut self) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::Expunged)
    }
}
