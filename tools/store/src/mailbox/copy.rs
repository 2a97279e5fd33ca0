//! COPY and MOVE: a message gets a name in another mailbox, beside or instead of its own.

use std::io::{self, ErrorKind};

use nix::errno::Errno;

use super::Mailbox;
use super::change::ATTEMPTS_MAX;
use crate::file_name::{Letters, compose, sizes, unique};
use crate::folder::{Locked, Place};
use crate::index::{Batch, Message, Reach};
use crate::{Flags, StoreError};

/// A file that was given its new name, and what it was before.
struct Step {
    message: Message,
    from: (Place, Vec<u8>),
    name: Vec<u8>,
    uid: u32,
}

impl Mailbox {
    /// COPY, or MOVE with `remove`, in ascending order: (UID here, UID there) for each message
    /// that was there. Flags, keywords and date go with it. All or none; on the disk when this
    /// returns.
    ///
    /// Files get their names before the index over there is written: whoever dies between leaves
    /// messages that the next look gives UIDs. A MOVE renames, so that at no moment a message has
    /// two names or none; the index over here comes last, since the next look would see anyway
    /// that the files have gone.
    pub fn copy(
        &mut self,
        uids: &[u32],
        to: &mut Mailbox,
        remove: bool,
    ) -> Result<Vec<(u32, u32)>, StoreError> {
        let is_same = self.folder.is_same(&to.folder)?;
        let _locks = self.lock_both(to, is_same)?;
        for _ in 0..ATTEMPTS_MAX {
            self.index.catch_up(&self.folder)?;
            to.index.catch_up(&to.folder)?;
            let chosen = self.chosen(uids);
            if chosen.is_empty() {
                return Ok(Vec::new());
            }
            let messages: Vec<_> = chosen.iter().map(|at| self.messages()[*at as usize]).collect();
            let mut steps = Vec::with_capacity(chosen.len());
            match self.perform_copy(&messages, to, remove, &mut steps) {
                Ok(()) => {}
                Err(error) => {
                    self.undo_copy(&steps, to, remove);
                    match error {
                        // Another program was at the files: its changes come first.
                        StoreError::Expunged => self.take_in()?,
                        error => return Err(error),
                    }
                    continue;
                }
            }
            // Here may be there.
            self.index.catch_up(&self.folder)?;
            if remove {
                // Should there be no space for it, the next look sees that the files have gone.
                let _ = self.record_expunged(&chosen);
            }
            return Ok(steps.iter().map(|step| (step.message.uid, step.uid)).collect());
        }
        Err(StoreError::TooMany { what: "changes by other programs at once" })
    }

    /// Both locks, in the order of their paths, so that two handles cannot wait for each other.
    fn lock_both(&self, to: &Mailbox, is_same: bool) -> Result<Vec<Locked>, StoreError> {
        let (here, there) = (&self.folder, &to.folder);
        match is_same {
            true => Ok(vec![there.lock()?]),
            false if here.path() < there.path() => Ok(vec![here.lock()?, there.lock()?]),
            false => Ok(vec![there.lock()?, here.lock()?]),
        }
    }

    /// Names the files over there and records them. `Expunged` if one is not where it should be;
    /// `steps` has what was done.
    fn perform_copy(
        &self,
        messages: &[Message],
        to: &mut Mailbox,
        remove: bool,
        steps: &mut Vec<Step>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let keywords = self.keywords_there(messages, to, &mut batch);
        let (first, modseq) = (to.fresh_uid()?, to.highest_modseq() + 1);
        if u64::from(first) + messages.len() as u64 >= u64::from(u32::MAX) {
            return Err(StoreError::TooMany { what: "messages since the mailbox was made" });
        }
        for (uid, message) in (first..).zip(messages) {
            let (place, old, base) = self.file_of(message)?;
            let new = unique(sizes(&base));
            let there = message.flags.keywords().filter_map(|n| *keywords.get(usize::from(n))?);
            let flags =
                there.fold(message.flags & Flags::SYSTEM, |flags, n| flags | Flags::of_keyword(n));
            // The letters of other programs mean something only where they were given.
            let letters = Letters(message.letters().0 & Letters::PASSED);
            let name = compose(new.as_bytes(), flags, letters);
            let done = match remove {
                true => self.folder.move_to((place, &old), &to.folder, (Place::Cur, &name)),
                false => self.duplicate((place, &old), to, &name),
            };
            done.map_err(|error| match error.kind() {
                ErrorKind::NotFound => StoreError::Expunged,
                _ => StoreError::io("copying a message")(error),
            })?;
            steps.push(Step { message: *message, from: (place, old), name, uid });
            batch.arrived(uid, modseq, (new.as_bytes(), flags, letters));
        }
        to.folder.sync().map_err(StoreError::io("syncing a mailbox"))?;
        to.index.commit(&to.folder, &mut batch, Reach::Disk)
    }

    /// The number over there of each keyword that the messages have; None where it is full.
    fn keywords_there(
        &self,
        messages: &[Message],
        to: &Mailbox,
        batch: &mut Batch,
    ) -> Vec<Option<u8>> {
        let used = messages.iter().fold(0, |all, message| all | message.flags.0);
        let mut there = to.keywords().to_vec();
        let number = |(n, name): (usize, &String)| {
            if !Flags(used).contains(Flags::of_keyword(n as u8)) {
                return None;
            }
            let known = there.iter().position(|known| known.eq_ignore_ascii_case(name));
            let at = known.or_else(|| {
                (there.len() < Flags::KEYWORDS_MAX).then(|| {
                    batch.keyword(name);
                    there.push(name.clone());
                    there.len() - 1
                })
            })?;
            u8::try_from(at).ok()
        };
        self.keywords().iter().enumerate().map(number).collect()
    }

    /// A second name for the file, or where its file system gives none, a second file.
    fn duplicate(&self, from: (Place, &[u8]), to: &Mailbox, name: &[u8]) -> io::Result<()> {
        let linked = self.folder.link_to(from, &to.folder, name);
        let Err(error) = linked else { return Ok(()) };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMLINK | Errno::EXDEV | Errno::EPERM | Errno::EOPNOTSUPP) => {}
            _ => return Err(error),
        }
        let tmp = unique(None);
        let mut source = self.folder.open_file(from.0, from.1)?;
        let copied = to.folder.create_tmp(&tmp).and_then(|mut file| {
            io::copy(&mut source, &mut file)?;
            file.set_modified(source.metadata()?.modified()?)?;
            file.sync_all()?;
            to.folder.publish(&tmp, name)
        });
        copied.inspect_err(|_| to.folder.remove_tmp(&tmp))
    }

    /// Takes names back. What cannot be taken back is found by the next look at the files.
    fn undo_copy(&self, steps: &[Step], to: &Mailbox, remove: bool) {
        for Step { from: (place, old), name, .. } in steps.iter().rev() {
            let _ = match remove {
                true => to.folder.move_to((Place::Cur, name), &self.folder, (*place, old)),
                false => to.folder.remove(Place::Cur, name),
            };
        }
    }
}
