//! Reading a message.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::UNIX_EPOCH;

use super::Mailbox;
use super::append::bare_feeds;
use crate::StoreError;
use crate::file_name::sizes;

/// A message's file, open: what happens to its name does not matter any more.
#[derive(Debug)]
pub struct MessageFile {
    file: File,
    bytes: u64,
    internal_date: i64,
}

impl Mailbox {
    /// Opens a message's file, wherever it is now.
    pub fn open_message(&self, uid: u32) -> Result<MessageFile, StoreError> {
        let message = self.find(uid).ok_or(StoreError::Expunged)?;
        let (place, name, base) = self.file_of(message)?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Expunged,
            _ => StoreError::io("opening a message")(error),
        };
        for _ in 0..LOOKS_MAX {
            // Flags may have changed since the last refresh, and the name with them.
            let opened = match self.folder.open_file(place, &name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let Some((place, name)) = self.folder.locate(&base)? else { continue };
                    self.folder.open_file(place, &name)
                }
                done => done,
            };
            match opened {
                Ok(file) => return MessageFile::of(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(StoreError::Expunged)
    }

    /// RFC822.SIZE: bytes with CRLF at the end of each line (RFC 5322 2.1), which most delivery
    /// agents do not write. Opens the file only where its name does not tell.
    pub fn size(&self, uid: u32) -> Result<u64, StoreError> {
        let message = self.find(uid).ok_or(StoreError::Expunged)?;
        match sizes(&self.index.base(message)?) {
            Some(sizes) => Ok(sizes.wire),
            None => self.open_message(uid)?.wire_bytes(),
        }
    }
}

impl MessageFile {
    fn of(file: File) -> Result<MessageFile, StoreError> {
        let failed = StoreError::io("reading a message");
        let metadata = file.metadata().map_err(&failed)?;
        let modified = metadata.modified().map_err(&failed)?;
        let internal_date = match modified.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        };
        Ok(MessageFile { file, bytes: metadata.len(), internal_date })
    }

    /// Seconds since the epoch.
    pub fn internal_date(&self) -> i64 {
        self.internal_date
    }

    /// The message as it lies on the disk: its lines may end in a bare LF.
    pub fn read(&mut self) -> Result<Vec<u8>, StoreError> {
        self.read_start(u64::MAX)
    }

    /// The first bytes of that, at most `bytes_max`.
    pub fn read_start(&mut self, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let failed = StoreError::io("reading a message");
        let room = usize::try_from(self.bytes.min(bytes_max)).map_err(|_| StoreError::NoSpace)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(room).map_err(|_| StoreError::NoSpace)?;
        self.file.rewind().map_err(&failed)?;
        (&self.file).take(room as u64).read_to_end(&mut bytes).map_err(&failed)?;
        Ok(bytes)
    }

    /// Counts by reading: what a file of another program costs whoever asks for its size.
    fn wire_bytes(&mut self) -> Result<u64, StoreError> {
        let (mut buffer, mut before, mut bytes) = (vec![0; BUFFER_BYTES], 0, 0);
        loop {
            match self.file.read(&mut buffer).map_err(StoreError::io("reading a message"))? {
                0 => return Ok(bytes),
                read => bytes += read as u64 + bare_feeds(&buffer[..read], &mut before),
            }
        }
    }
}

/// A file whose name changes this often between two looks is not found.
const LOOKS_MAX: usize = 3;
const BUFFER_BYTES: usize = 64 * 1024;
