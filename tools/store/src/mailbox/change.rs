//! STORE: flags in the names of the files, keywords in the index.

use super::Mailbox;
use crate::file_name::compose;
use crate::folder::Place;
use crate::index::{Batch, Message};
use crate::{FlagChange, Flags, StoreError};

/// What became of a change of flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// UIDs whose flags differ now, ascending.
    pub changed: Vec<u32>,
    /// UIDs left alone since they changed after `unchanged_since` (RFC 7162 MODIFIED), ascending.
    pub modified: Vec<u32>,
}

/// A message that gets other flags.
struct Step {
    message: Message,
    base: Vec<u8>,
    flags: Flags,
}

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
            let mut done = Changed::default();
            let mut steps = Vec::new();
            for message in self.chosen(uids) {
                let new = how.applied(message.flags, flags);
                if unchanged_since.is_some_and(|since| message.modseq > since) {
                    done.modified.push(message.uid);
                } else if new != message.flags {
                    done.changed.push(message.uid);
                    steps.push(Step { message, base: self.index.base(&message)?, flags: new });
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

    /// The messages with these UIDs, ascending, each once.
    pub(super) fn chosen(&self, uids: &[u32]) -> Vec<Message> {
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        uids.dedup();
        uids.iter().filter_map(|uid| self.find(*uid)).copied().collect()
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
                    return match error.kind() {
                        std::io::ErrorKind::NotFound => Ok(false),
                        _ => Err(StoreError::io("renaming a message")(error)),
                    };
                }
            }
            let letters = step.message.letters().settled();
            batch.changed(step.message.uid, modseq, step.flags, letters);
        }
        self.index.commit(&self.folder, &mut batch).inspect_err(|_| self.undo(steps))?;
        Ok(true)
    }

    fn relabel(&self, step: &Step) -> std::io::Result<()> {
        let letters = step.message.letters();
        let old = compose(&step.base, step.message.flags, letters);
        let new = compose(&step.base, step.flags, letters.settled());
        let from = Place::of(letters);
        if from == Place::Cur && old == new {
            return Ok(());
        }
        self.folder.rename((from, &old), (Place::Cur, &new))
    }

    /// Takes renames back. What cannot be taken back is found by the next look at the files.
    fn undo(&self, steps: &[Step]) {
        for step in steps.iter().rev() {
            let letters = step.message.letters();
            let old = compose(&step.base, step.message.flags, letters);
            let new = compose(&step.base, step.flags, letters.settled());
            let _ = self.folder.rename((Place::Cur, &new), (Place::of(letters), &old));
        }
    }
}

/// How often a change is begun anew because another program was faster.
pub(super) const ATTEMPTS_MAX: usize = 5;
