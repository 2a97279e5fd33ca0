//! EXPUNGE: the files go, the index remembers their UIDs.

use std::io::ErrorKind;

use super::Mailbox;
use super::change::ATTEMPTS_MAX;
use crate::StoreError;
use crate::index::{Batch, Reach};

impl Mailbox {
    /// Removes messages, whatever their flags; the UIDs that this call removed, ascending.
    ///
    /// Files go before the index is written: whoever dies between leaves messages without a file,
    /// which the next look records as gone. The other way round a file would be left that no UID
    /// belongs to, and an expunged message would come back as a new one.
    pub fn expunge(&mut self, uids: &[u32]) -> Result<Vec<u32>, StoreError> {
        let _lock = self.folder.lock()?;
        let mut removed = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            self.index.catch_up(&self.folder)?;
            let chosen = self.chosen(uids);
            let (gone, stopped) = self.remove_files(&chosen);
            let gone = &chosen[..gone];
            removed.extend(gone.iter().map(|at| self.messages()[*at as usize].uid));
            self.record_expunged(gone)?;
            match stopped {
                None => break,
                // Another program was at the files: its changes come first.
                Some(StoreError::Expunged) => self.take_in()?,
                Some(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// How many were removed, from the first on, and what kept the next one from it.
    fn remove_files(&self, chosen: &[u32]) -> (usize, Option<StoreError>) {
        for (count, at) in chosen.iter().enumerate() {
            let removed =
                self.file_of(&self.messages()[*at as usize]).and_then(|(place, name, _)| {
                    self.folder.remove(place, &name).map_err(|error| match error.kind() {
                        ErrorKind::NotFound => StoreError::Expunged,
                        _ => StoreError::io("removing a message")(error),
                    })
                });
            if let Err(error) = removed {
                return (count, Some(error));
            }
        }
        (chosen.len(), None)
    }

    /// Writes that these places of the table are empty now, neighbours as one range.
    pub(super) fn record_expunged(&mut self, chosen: &[u32]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let modseq = self.highest_modseq() + 1;
        let uid = |at: u32| self.messages()[at as usize].uid;
        for range in chosen.chunk_by(|one, next| one + 1 == *next) {
            batch.expunged(uid(range[0]), uid(range[range.len() - 1]), modseq);
        }
        self.index.commit(&self.folder, &mut batch, Reach::Cache)
    }
}
