//! APPEND: a message comes in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, UNIX_EPOCH};

use super::Mailbox;
use crate::file_name::{Letters, Sizes, compose, unique};
use crate::index::{Batch, Reach};
use crate::{Flags, StoreError};

impl Mailbox {
    /// Stores a message of `size` bytes and answers its UID. `date` is its INTERNALDATE in
    /// seconds since the epoch. A body that ends early stores nothing. The message and its UID
    /// are on the disk when this returns.
    ///
    /// The file is whole and on the disk before it gets its name in cur/, and has its name before
    /// the index is written: whoever dies before the name leaves a file in tmp/ that is nobody's,
    /// whoever dies after it leaves a message that the next look gives a UID.
    pub fn append(
        &mut self,
        body: &mut dyn Read,
        size: u64,
        flags: Flags,
        date: Option<i64>,
    ) -> Result<u32, StoreError> {
        let tmp = unique(None);
        let stored = self.store_body(&tmp, body, size, date);
        let added = stored.and_then(|sizes| self.add(&tmp, sizes, flags));
        if added.is_err() {
            self.folder.remove_tmp(&tmp);
        }
        added
    }

    /// Writes the file in tmp/. No lock is held: bodies may be slow.
    fn store_body(
        &self,
        tmp: &str,
        body: &mut dyn Read,
        size: u64,
        date: Option<i64>,
    ) -> Result<Sizes, StoreError> {
        let failed = StoreError::io("writing a message");
        let mut file = self.folder.create_tmp(tmp).map_err(StoreError::folder("a new message"))?;
        let sizes = copy_body(body, size, &mut file).map_err(&failed)?;
        if sizes.file != size {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(seconds) = date {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            let time = match seconds {
                0.. => UNIX_EPOCH.checked_add(distance),
                _ => UNIX_EPOCH.checked_sub(distance),
            };
            file.set_modified(time.unwrap_or(UNIX_EPOCH)).map_err(&failed)?;
        }
        file.sync_all().map_err(&failed)?;
        Ok(sizes)
    }

    /// Makes the file in tmp/ a message.
    fn add(&mut self, tmp: &str, sizes: Sizes, flags: Flags) -> Result<u32, StoreError> {
        let failed = StoreError::folder("naming a new message");
        let _lock = self.folder.lock()?;
        self.index.catch_up(&self.folder)?;
        let (base, letters) = (unique(Some(sizes)), Letters::default());
        let flags = self.meaningful(flags);
        let (uid, modseq) = (self.fresh_uid()?, self.highest_modseq() + 1);
        let name = compose(base.as_bytes(), flags, letters);
        self.folder.publish(tmp, &name).map_err(&failed)?;
        let mut batch = Batch::default();
        batch.arrived(uid, modseq, (base.as_bytes(), flags, letters));
        let recorded = self.folder.sync().map_err(&failed);
        recorded
            .and_then(|()| self.index.commit(&self.folder, &mut batch, Reach::Disk))
            .inspect_err(|_| {
                let _ = self.folder.remove(crate::folder::Place::Cur, &name);
            })?;
        Ok(uid)
    }

    /// The UID of the next message.
    pub(super) fn fresh_uid(&self) -> Result<u32, StoreError> {
        match self.uid_next() {
            u32::MAX => Err(StoreError::TooMany { what: "messages since the mailbox was made" }),
            uid => Ok(uid),
        }
    }
}

/// Copies at most `size` bytes and counts what they are on the wire.
fn copy_body(body: &mut dyn Read, size: u64, file: &mut File) -> io::Result<Sizes> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut sizes, mut before) = (Sizes { file: 0, wire: 0 }, 0);
    while sizes.file < size {
        let wanted = buffer.len().min(usize::try_from(size - sizes.file).unwrap_or(usize::MAX));
        let read = match body.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        file.write_all(&buffer[..read])?;
        sizes.file += read as u64;
        sizes.wire += read as u64 + bare_feeds(&buffer[..read], &mut before);
    }
    Ok(sizes)
}

/// How many lines end without a CR, each of which costs a byte more on the wire. `before` is the
/// byte before these, and the last of these afterwards.
pub(super) fn bare_feeds(bytes: &[u8], before: &mut u8) -> u64 {
    let mut count = 0;
    for &byte in bytes {
        count += u64::from(byte == b'\n' && *before != b'\r');
        *before = byte;
    }
    count
}

const BUFFER_BYTES: usize = 64 * 1024;
