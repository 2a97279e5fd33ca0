//! An open mailbox.

mod append;
mod change;
mod copy;
mod expunge;
mod keyword;
mod read;
mod recent;
mod refresh;
mod scan;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::folder::{Folder, Place};
use crate::index::{Batch, Index, Message, Reach};
use crate::{Flags, StoreError, boot, file_name, validity};

pub use change::Changed;
pub use read::MessageFile;

/// A handle of one mailbox: its messages as of the last call that looked, no lock held between.
#[derive(Debug)]
pub struct Mailbox {
    folder: Folder,
    index: Index,
    /// The mtimes of the last look at the files, if no file can have changed under the same ones.
    settled: Option<refresh::Stamps>,
    rebuilt: Option<String>,
}

impl Mailbox {
    /// Opens the mailbox in a folder of the home `root`, with its files taken in.
    pub(crate) fn open(root: &Path, path: &Path) -> Result<Mailbox, StoreError> {
        let folder = Folder::open(path)?;
        folder.sweep_tmp();
        let lock = folder.lock_shared()?;
        // It may have been deleted while we waited for the lock.
        folder.check()?;
        let loaded = Index::load(&folder);
        drop(lock);
        let (index, rebuilt) = match loaded {
            Ok(Some(index)) => (index, None),
            Ok(None) | Err(StoreError::Damaged { .. }) => begin_index(root, &folder)?,
            Err(error) => return Err(error),
        };
        let mut mailbox = Mailbox { folder, index, settled: None, rebuilt };
        mailbox.note_boot()?;
        match mailbox.refresh() {
            // On a full disk new mail has to wait, but what is known can be read, and expunged.
            Ok(()) | Err(StoreError::NoSpace) => Ok(mailbox),
            Err(error) => Err(error),
        }
    }

    /// Skips the numbers that a power failure may have taken back, if there may have been one.
    fn note_boot(&mut self) -> Result<(), StoreError> {
        if self.index.table.boot == Some(boot::id()) {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        self.index.catch_up(&self.folder)?;
        let table = &self.index.table;
        if table.boot == Some(boot::id()) {
            return Ok(());
        }
        let mut batch = Batch::default();
        let uid_next = table.uid_next.saturating_add(boot::SKIPPED_UIDS);
        let modseq = table.highest_modseq + boot::SKIPPED_MODSEQS;
        batch.counters(uid_next, table.recent_next, modseq);
        batch.booted(boot::id());
        self.index.commit(&self.folder, &mut batch, Reach::Cache)
    }

    /// Why the index had to be built anew, under a new UIDVALIDITY, when this handle was opened.
    pub fn rebuilt(&self) -> Option<&str> {
        self.rebuilt.as_deref()
    }

    pub fn uid_validity(&self) -> u32 {
        self.index.uid_validity()
    }

    pub fn uid_next(&self) -> u32 {
        self.index.table.uid_next
    }

    pub fn highest_modseq(&self) -> u64 {
        self.index.table.highest_modseq
    }

    /// All messages by ascending UID.
    pub fn messages(&self) -> &[Message] {
        &self.index.table.messages
    }

    pub fn find(&self, uid: u32) -> Option<&Message> {
        self.index.table.position(uid).map(|at| &self.messages()[at])
    }

    /// The UIDs that went after `modseq`, sorted and disjoint. May name some that never were, and
    /// in a mailbox with very many expunges some that went before: see docs/STORE.md.
    pub fn expunged_since(&self, modseq: u64) -> Vec<RangeInclusive<u32>> {
        self.index.table.gone.since(modseq)
    }

    /// The names of the keywords by their number.
    pub fn keywords(&self) -> &[String] {
        &self.index.table.keywords
    }

    /// The folders whose change means that `refresh` will find something: new/ and cur/.
    pub fn watch_paths(&self) -> [PathBuf; 2] {
        ["new", "cur"].map(|name| self.folder.path().join(name))
    }

    /// How many messages no session has claimed yet; they are the last ones.
    pub fn recent(&self) -> u32 {
        let claimed = |message: &Message| message.uid < self.index.table.recent_next;
        (self.messages().len() - self.messages().partition_point(claimed)) as u32
    }

    /// The places in the table of the messages with these UIDs, ascending, each once.
    fn chosen(&self, uids: &[u32]) -> Vec<u32> {
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        uids.dedup();
        let places = uids.iter().filter_map(|uid| self.index.table.position(*uid));
        places.map(|place| place as u32).collect()
    }

    /// The flags without those that mean nothing here: bits of keywords that nobody named.
    fn meaningful(&self, flags: Flags) -> Flags {
        let keywords = (0..self.keywords().len() as u8).map(Flags::of_keyword);
        flags & keywords.fold(Flags::SYSTEM, |all, keyword| all | keyword)
    }

    /// The name under which the index believes a message's file to lie.
    fn file_of(&self, message: &Message) -> Result<(Place, Vec<u8>, Vec<u8>), StoreError> {
        let (base, letters) = (self.index.base(message)?, message.letters());
        let name = file_name::compose(&base, message.flags, letters);
        Ok((Place::of(letters), name, base))
    }
}

/// Begins an index where there is none or a damaged one, unless somebody else just did. The second
/// value says why an old one had to be given up.
fn begin_index(root: &Path, folder: &Folder) -> Result<(Index, Option<String>), StoreError> {
    let _lock = folder.lock()?;
    folder.check()?;
    let rebuilt = match Index::load(folder) {
        Ok(Some(index)) => return Ok((index, None)),
        Ok(None) => None,
        Err(error @ StoreError::Damaged { .. }) => {
            Index::put_aside(folder)?;
            Some(error.to_string())
        }
        Err(error) => return Err(error),
    };
    Ok((Index::create(folder, validity::next(root)?)?, rebuilt))
}
