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
    size: u64,
    file_bytes: u64,
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
                Ok(file) => return MessageFile::of(file, &base),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(StoreError::Expunged)
    }

    /// RFC822.SIZE in bytes, without opening the file where its name tells it.
    pub fn size(&self, uid: u32) -> Result<u64, StoreError> {
        let message = self.find(uid).ok_or(StoreError::Expunged)?;
        match sizes(&self.index.base(message)?) {
            Some(sizes) => Ok(sizes.wire),
            None => Ok(self.open_message(uid)?.size()),
        }
    }
}

impl MessageFile {
    fn of(mut file: File, base: &[u8]) -> Result<MessageFile, StoreError> {
        let failed = StoreError::io("reading a message");
        let metadata = file.metadata().map_err(&failed)?;
        let told = sizes(base).filter(|sizes| sizes.file == metadata.len());
        let size = match told {
            Some(sizes) => sizes.wire,
            None => wire_bytes(&mut file).map_err(&failed)?,
        };
        let modified = metadata.modified().map_err(&failed)?;
        let internal_date = match modified.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        };
        Ok(MessageFile { file, size, file_bytes: metadata.len(), internal_date })
    }

    /// Bytes of what `read` gives (RFC822.SIZE).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Seconds since the epoch.
    pub fn internal_date(&self) -> i64 {
        self.internal_date
    }

    /// The message as it goes over the wire: every line ends in CRLF (RFC 5322 2.1), as most
    /// delivery agents do not write it.
    pub fn read(&mut self) -> Result<Vec<u8>, StoreError> {
        let failed = StoreError::io("reading a message");
        let capacity = usize::try_from(self.size).map_err(|_| StoreError::NoSpace)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| StoreError::NoSpace)?;
        self.file.rewind().map_err(&failed)?;
        self.file.read_to_end(&mut bytes).map_err(&failed)?;
        if self.size != self.file_bytes {
            add_returns(&mut bytes);
        }
        Ok(bytes)
    }
}

/// Makes every LF a CRLF, in place: from the end on, since the room needed is known.
fn add_returns(bytes: &mut Vec<u8>) {
    let mut from = bytes.len();
    let mut to = from + bare_feeds(bytes, &mut 0) as usize;
    bytes.resize(to, 0);
    while from < to {
        (from, to) = (from - 1, to - 1);
        bytes[to] = bytes[from];
        if bytes[from] == b'\n' && (from == 0 || bytes[from - 1] != b'\r') {
            to -= 1;
            bytes[to] = b'\r';
        }
    }
}

/// Counts by reading: what a file of another program costs whoever asks for its size.
fn wire_bytes(file: &mut File) -> io::Result<u64> {
    let (mut buffer, mut before, mut bytes) = (vec![0; BUFFER_BYTES], 0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64 + bare_feeds(&buffer[..read], &mut before),
        }
    }
}

/// A file whose name changes this often between two looks is not found.
const LOOKS_MAX: usize = 3;
const BUFFER_BYTES: usize = 64 * 1024;
