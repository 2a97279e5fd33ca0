//! STORE: flags in the names of the files, keywords in the index.

use std::io::ErrorKind;

use super::Mailbox;
use crate::file_name::compose;
use crate::folder::Place;
use crate::index::{Batch, Reach};
use crate::{FlagChange, Flags, StoreError};

/// What became of a change of flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// UIDs whose flags differ now, ascending.
    pub changed: Vec<u32>,
    /// UIDs left alone since they changed after `unchanged_since` (RFC 7162 MODIFIED), ascending.
    pub modified: Vec<u32>,
}

/// A message, by its place in the table, and the flags it gets.
struct Step {
    at: u32,
    flags: Flags,
}

/// A file's place and name.
type Name = (Place, Vec<u8>);

impl Mailbox {
    /// STORE: changes the flags of the messages that are there and, with `unchanged_since`, have
    /// no higher modseq. All that change get one new modseq. All or none.
    ///
    /// Files are renamed before the index is written: whoever dies between leaves names that the
    /// next look takes in as a change, and a flag that was set once stays set.
    pub fn change_flags(
        &mut self,
        uids: &[u32],
        how: FlagChange,
        flags: Flags,
        unchanged_since: Option<u64>,
    ) -> Result<Changed, StoreError> {
        let _lock = self.folder.lock()?;
        for _ in 0..ATTEMPTS_MAX {
            self.index.catch_up(&self.folder)?;
            let flags = self.meaningful(flags);
            let mut done = Changed::default();
            let mut steps = Vec::new();
            for at in self.chosen(uids) {
                let message = &self.messages()[at as usize];
                let new = how.applied(message.flags, flags);
                if unchanged_since.is_some_and(|since| message.modseq > since) {
                    done.modified.push(message.uid);
                } else if new != message.flags {
                    done.changed.push(message.uid);
                    steps.push(Step { at, flags: new });
                }
            }
            if self.perform(&steps)? {
                return Ok(done);
            }
            // Another program was at the files: its changes come first.
            self.take_in()?;
        }
        Err(StoreError::TooMany { what: "changes by other programs at once" })
    }

    /// Renames and records; false, with nothing done, if a file was not where it should be.
    fn perform(&mut self, steps: &[Step]) -> Result<bool, StoreError> {
        let mut batch = Batch::default();
        let modseq = self.highest_modseq() + 1;
        for (count, step) in steps.iter().enumerate() {
            match self.relabel(step) {
                Ok(()) => {}
                Err(error) => {
                    self.undo(&steps[..count]);
                    return if matches!(error, StoreError::Expunged) {
                        Ok(false)
                    } else {
                        Err(error)
                    };
                }
            }
            let message = &self.messages()[step.at as usize];
            batch.changed(message.uid, modseq, step.flags, message.letters().settled());
        }
        self.index
            .commit(&self.folder, &mut batch, Reach::Cache)
            .inspect_err(|_| self.undo(steps))?;
        Ok(true)
    }

    fn relabel(&self, step: &Step) -> Result<(), StoreError> {
        let (old, new) = self.names(step)?;
        if old == new {
            return Ok(());
        }
        let renamed = self.folder.rename((old.0, &old.1), (new.0, &new.1));
        renamed.map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::Expunged,
            _ => StoreError::io("renaming a message")(error),
        })
    }

    /// Takes renames back. What cannot be taken back is found by the next look at the files.
    fn undo(&self, steps: &[Step]) {
        for step in steps.iter().rev() {
            if let Ok((old, new)) = self.names(step) {
                let _ = self.folder.rename((new.0, &new.1), (old.0, &old.1));
            }
        }
    }

    /// The names before and after a step.
    fn names(&self, step: &Step) -> Result<(Name, Name), StoreError> {
        let message = &self.messages()[step.at as usize];
        let (place, old, base) = self.file_of(message)?;
        let new = compose(&base, step.flags, message.letters().settled());
        Ok(((place, old), (Place::Cur, new)))
    }
}

/// How often a change is begun anew because another program was faster.
pub(super) const ATTEMPTS_MAX: usize = 5;
