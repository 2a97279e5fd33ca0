//! The index of one mailbox: a file that only grows, until it is replaced by a shorter one.
//!
//! Writers hold the mailbox's lock; readers hold it shared while they read, so no one ever sees
//! half a transaction of a living writer. What a dead writer left half done is a cut-off tail:
//! readers stop before it and the next writer cuts it away.

mod commit;
mod frame;
mod gone;
mod layout;
mod rewrite;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use zerocopy::{FromBytes, IntoBytes};

pub use commit::Reach;
pub use frame::Batch;
pub use layout::Scanned;
pub use table::{Message, Table};

use crate::StoreError;
use crate::folder::Folder;
use frame::Next;
use layout::{Arrived, FrameHeader, Header, MAGIC, VERSION};

#[derive(Debug)]
pub struct Index {
    file: File,
    path: PathBuf,
    /// Device and inode: another file at the path is a newer index.
    identity: (u64, u64),
    uid_validity: u32,
    /// Where the last whole frame ends.
    end: u64,
    /// Bytes that the file had when it was written anew.
    base_bytes: u64,
    /// True once it is certain that a power failure does not bring an older file back.
    is_name_synced: bool,
    pub table: Table,
}

impl Index {
    /// Reads the index of a folder whose lock the caller holds; None if there is none.
    pub fn load(folder: &Folder) -> Result<Option<Index>, StoreError> {
        let path = folder.path().join(FILE);
        let Some((file, header)) = open(folder)? else { return Ok(None) };
        let stat = file.metadata().map_err(StoreError::io("stat of an index"))?;
        let mut index = Index {
            file,
            path,
            identity: (stat.dev(), stat.ino()),
            uid_validity: header.uid_validity.get(),
            end: size_of::<Header>() as u64,
            base_bytes: header.base_bytes.get(),
            is_name_synced: false,
            table: Table::new(),
        };
        index.table.clear(messages_told(&header, stat.len()));
        index.read_on()?;
        Ok(Some(index))
    }

    pub fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    /// True if the file has something that the table does not, or is another file by now.
    pub fn is_behind(&self, folder: &Folder) -> Result<bool, StoreError> {
        let Some(stat) = folder.stat(FILE)? else { return Ok(true) };
        Ok(self.identity != (stat.st_dev, stat.st_ino) || stat.st_size as u64 != self.end)
    }

    /// Takes in what others wrote; the caller holds the lock. `Damaged` if the index is not this
    /// mailbox's any more: whoever has it open must close it.
    pub fn catch_up(&mut self, folder: &Folder) -> Result<(), StoreError> {
        let Some(stat) = folder.stat(FILE)? else { return Err(self.damaged("it has gone")) };
        if self.identity == (stat.st_dev, stat.st_ino) {
            return if stat.st_size as u64 == self.end { Ok(()) } else { self.read_on() };
        }
        let Some((file, header)) = open(folder)? else { return Err(self.damaged("it has gone")) };
        if header.uid_validity.get() != self.uid_validity {
            return Err(self.damaged("it was begun anew under another UIDVALIDITY"));
        }
        let stat = file.metadata().map_err(StoreError::io("stat of an index"))?;
        self.file = file;
        self.identity = (stat.dev(), stat.ino());
        self.is_name_synced = false;
        self.end = size_of::<Header>() as u64;
        self.base_bytes = header.base_bytes.get();
        self.table.clear(messages_told(&header, stat.len()));
        self.read_on()
    }

    /// The base of a message's file name.
    pub fn base(&self, message: &Message) -> Result<Vec<u8>, StoreError> {
        let failed = StoreError::io("reading an index");
        let mut bytes = [0; 1 + u8::MAX as usize];
        let from = u64::from(message.name_at()) - 1;
        let wanted = bytes.len().min((self.end - from) as usize);
        self.file.read_exact_at(&mut bytes[..wanted], from).map_err(&failed)?;
        let name = bytes.get(1..1 + usize::from(bytes[0]));
        Ok(name.expect("a byte counts at most 255").to_vec())
    }

    fn read_on(&mut self) -> Result<(), StoreError> {
        let failed = StoreError::io("reading an index");
        let mut file = self.file.try_clone().map_err(&failed)?;
        let until = file.metadata().map_err(&failed)?.len();
        if until < self.end {
            return Err(self.damaged("it became shorter"));
        }
        file.seek(SeekFrom::Start(self.end)).map_err(&failed)?;
        let from = BufReader::with_capacity(READ_BYTES, file);
        self.end = match self.replay(from, until) {
            Ok(end) => end,
            Err(Replay::Damage(why)) => return Err(self.damaged(why)),
            Err(Replay::Io(source)) => return Err(failed(source)),
        };
        self.settle()
    }

    /// Takes frames into the table from `self.end` to `until`; answers where the last one ends.
    fn replay(&mut self, mut from: impl Read, until: u64) -> Result<u64, Replay> {
        let (mut at, mut payload) = (self.end, Vec::new());
        loop {
            match frame::read(&mut from, until - at, &mut payload)? {
                Next::End => return Ok(at),
                Next::Damage(why) => return Err(Replay::Damage(why)),
                Next::Frame(kind) => {
                    let payload_at = at + size_of::<FrameHeader>() as u64;
                    self.table.apply(kind, &payload, payload_at).map_err(Replay::Damage)?;
                    at = payload_at + payload.len() as u64;
                }
            }
        }
    }

    fn damaged(&self, why: &'static str) -> StoreError {
        StoreError::Damaged { file: self.path.clone(), why }
    }
}

/// Why frames could not be taken in.
enum Replay {
    Damage(&'static str),
    Io(io::Error),
}

impl From<io::Error> for Replay {
    fn from(error: io::Error) -> Replay {
        Replay::Io(error)
    }
}

fn open(folder: &Folder) -> Result<Option<(File, Header)>, StoreError> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = match openat(folder.top(), FILE, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(StoreError::io("opening an index")(errno)),
    };
    let damaged = |why| StoreError::Damaged { file: folder.path().join(FILE), why };
    let mut bytes = [0; size_of::<Header>()];
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(damaged("shorter than its header"));
        }
        done => done.map_err(StoreError::io("reading an index"))?,
    }
    let header = Header::read_from_bytes(&bytes).expect("the array has the header's size");
    if header.magic != MAGIC {
        return Err(damaged("not an index"));
    }
    if header.crc.get() != header_crc(&header) {
        return Err(damaged("checksum of the header"));
    }
    match header.version.get() {
        VERSION => Ok(Some((file, header))),
        _ => Err(damaged("of another version")),
    }
}

/// How many messages the file was begun with, as far as its length bears that out.
fn messages_told(header: &Header, file_bytes: u64) -> usize {
    let fit = file_bytes / size_of::<Arrived>() as u64;
    fit.min(header.base_messages.get().into()) as usize
}

fn header_crc(header: &Header) -> u32 {
    crc32fast::hash(&header.as_bytes()[..size_of::<Header>() - size_of::<u32>()])
}

pub const FILE: &str = "torpor.index";
const READ_BYTES: usize = 64 * 1024;
