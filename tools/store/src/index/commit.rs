//! Writing to an index: one transaction, one write.

use std::os::unix::fs::FileExt;

use nix::unistd::fsync;

use super::{Batch, Index, Replay};
use crate::StoreError;
use crate::folder::Folder;

/// How far a transaction has to get before it counts.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// It outlives every process.
    Cache,
    /// It outlives a power failure too.
    Disk,
}

impl Index {
    /// Writes a transaction and takes it into the table; the caller holds the lock and has caught
    /// up. When it fails nothing is written.
    pub fn commit(
        &mut self,
        folder: &Folder,
        batch: &mut Batch,
        reach: Reach,
    ) -> Result<(), StoreError> {
        if matches!(reach, Reach::Disk) && !self.is_name_synced {
            fsync(folder.top()).map_err(StoreError::io("syncing the name of an index"))?;
            self.is_name_synced = true;
        }
        self.write(batch, reach)?;
        self.settle()?;
        // A log that cannot be rewritten now is as good as before, only long.
        if self.end > 2 * self.base_bytes + SLACK_BYTES && self.rewrite(folder).is_ok() {
            return self.catch_up(folder);
        }
        Ok(())
    }

    /// As `commit`, for one of many batches: `settle` must follow the last.
    pub fn write(&mut self, batch: &mut Batch, reach: Reach) -> Result<(), StoreError> {
        let bytes = batch.finish();
        if bytes.is_empty() {
            return Ok(());
        }
        if self.end + bytes.len() as u64 > u64::from(u32::MAX) {
            return Err(StoreError::TooMany { what: "changes in an index" });
        }
        let failed = StoreError::io("writing an index");
        if self.file.metadata().map_err(&failed)?.len() != self.end {
            self.file.set_len(self.end).map_err(&failed)?;
        }
        let written = self.file.write_all_at(bytes, self.end);
        let written = written.and_then(|()| match reach {
            Reach::Cache => Ok(()),
            Reach::Disk => self.file.sync_data(),
        });
        if let Err(error) = written {
            // Part of it may be there: readers would take whole frames of it for true.
            self.file.set_len(self.end).map_err(&failed)?;
            return Err(failed(error));
        }
        let until = self.end + bytes.len() as u64;
        self.end = match self.replay(bytes, until) {
            Ok(end) => end,
            Err(Replay::Damage(why)) => return Err(self.damaged(why)),
            Err(Replay::Io(source)) => return Err(failed(source)),
        };
        assert_eq!(self.end, until, "what was written reads back whole");
        batch.clear();
        Ok(())
    }

    pub fn settle(&mut self) -> Result<(), StoreError> {
        self.table.settle().map_err(|why| self.damaged(why))
    }
}

/// A file this much longer than twice its first size is written anew.
pub(super) const SLACK_BYTES: u64 = 256 * 1024;
