//! \Recent: the first session that looks claims what is new.

use std::ops::RangeInclusive;

use super::Mailbox;
use crate::StoreError;
use crate::file_name::compose;
use crate::folder::Place;
use crate::index::{Batch, Message, Reach};

impl Mailbox {
    /// Claims what no session has claimed: these messages are \Recent for the caller alone.
    /// Moves the files from new/ to cur/.
    ///
    /// Files move before the index is written: whoever dies between leaves files in cur/ that the
    /// next look finds moved, and messages that the next session claims.
    pub fn claim_recent(&mut self) -> Result<Option<RangeInclusive<u32>>, StoreError> {
        let is_new = |message: &&Message| Place::of(message.letters()) == Place::New;
        if self.recent() == 0 && !self.messages().iter().any(|message| is_new(&message)) {
            return Ok(None);
        }
        let _lock = self.folder.lock()?;
        self.index.catch_up(&self.folder)?;
        let mut batch = Batch::default();
        for message in self.messages().iter().filter(is_new) {
            let (_, name, base) = self.file_of(message)?;
            let letters = message.letters().settled();
            let settled = compose(&base, message.flags, letters);
            match self.folder.rename((Place::New, &name), (Place::Cur, &settled)) {
                Ok(()) => batch.changed(message.uid, message.modseq, message.flags, letters),
                // Another program was faster: the next look finds where it is.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("moving a new message")(error)),
            }
        }
        let table = &self.index.table;
        let (first, next) = (table.recent_next, table.uid_next);
        if self.recent() > 0 {
            batch.counters(next, next, table.highest_modseq);
        }
        let claimed = (self.recent() > 0).then(|| first..=next - 1);
        self.index.commit(&self.folder, &mut batch, Reach::Cache)?;
        Ok(claimed)
    }
}
