//! Writing an index anew: when there is none, and when its log has grown too long.
//!
//! The new file is complete before it takes the old one's name, so at every moment one whole
//! index is there. Handles that still read the old file notice by its inode.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat, renameat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use zerocopy::IntoBytes;

use super::frame::Batch;
use super::layout::{Header, MAGIC, VERSION};
use super::{FILE, Index, Table, header_crc};
use crate::StoreError;
use crate::boot;
use crate::folder::{FILE_MODE, Folder};

impl Index {
    /// Begins an index; the caller holds the lock, and `uid_validity` was never used before.
    /// Nothing waits for the disk: an index that a power failure takes is begun once more, and
    /// one that it leaves has at least this page, with the boot.
    pub fn create(folder: &Folder, uid_validity: u32) -> Result<Index, StoreError> {
        let mut file = create_new(folder)?;
        let mut batch = Batch::default();
        batch.booted(boot::id());
        let bytes = size_of::<Header>() + batch.finish().len();
        let header = header(uid_validity, bytes as u64, 0);
        file.write_all(&[header.as_bytes(), batch.finish()].concat()).map_err(failed())?;
        take_name(folder)?;
        Index::load(folder)?.ok_or(StoreError::NotFound)
    }

    /// Puts a damaged index aside, where nobody reads it again.
    pub fn put_aside(folder: &Folder) -> Result<(), StoreError> {
        renameat(folder.top(), FILE, folder.top(), DAMAGED_FILE)
            .map_err(StoreError::folder("putting a damaged index aside"))
    }

    /// Replaces the file by one that says the same in fewer bytes. The table is left as it was:
    /// `catch_up` reads the new file.
    pub(super) fn rewrite(&mut self, folder: &Folder) -> Result<(), StoreError> {
        self.write_anew(folder).inspect_err(|_| {
            // Where there was no space for all of it, its part must not take any.
            let _ = unlinkat(folder.top(), NEW_FILE, UnlinkatFlags::NoRemoveDir);
        })
    }

    fn write_anew(&mut self, folder: &Folder) -> Result<(), StoreError> {
        let Table { gone, messages, .. } = &mut self.table;
        gone.compact(|uids| {
            let at = messages.partition_point(|message| message.uid < *uids.start());
            messages.get(at).is_some_and(|message| uids.contains(&message.uid))
        });
        let mut draft = Draft::begin(folder)?;
        let table = &self.table;
        draft.batch.counters(table.uid_next, table.recent_next, table.highest_modseq);
        table.boot.into_iter().for_each(|id| draft.batch.booted(id));
        table.keywords.iter().for_each(|name| draft.batch.keyword(name));
        for message in &table.messages {
            let base = self.base(message)?;
            let parts = (&base[..], message.flags, message.letters());
            draft.batch.arrived(message.uid, message.modseq, parts);
            draft.flush(WRITE_BYTES)?;
        }
        for range in table.gone.ranges() {
            draft.batch.expunged(range.first.get(), range.last.get(), range.modseq.get());
            draft.flush(WRITE_BYTES)?;
        }
        table.scanned.into_iter().for_each(|scanned| draft.batch.scanned(scanned));
        draft.finish(self.uid_validity, table.messages.len() as u32)?;
        take_name(folder)
    }
}

/// A new file on its way: its header comes last, when its length is known.
struct Draft {
    file: File,
    bytes: u64,
    batch: Batch,
}

impl Draft {
    fn begin(folder: &Folder) -> Result<Draft, StoreError> {
        let mut file = create_new(folder)?;
        file.write_all(&[0; size_of::<Header>()]).map_err(failed())?;
        Ok(Draft { file, bytes: size_of::<Header>() as u64, batch: Batch::default() })
    }

    /// Writes what has gathered, if that is more than so many bytes.
    fn flush(&mut self, bytes: usize) -> Result<(), StoreError> {
        if self.batch.len() > bytes {
            self.bytes += self.batch.finish().len() as u64;
            self.file.write_all(self.batch.finish()).map_err(failed())?;
            self.batch.clear();
        }
        Ok(())
    }

    fn finish(mut self, uid_validity: u32, messages: u32) -> Result<(), StoreError> {
        self.flush(0)?;
        let header = header(uid_validity, self.bytes, messages);
        self.file.write_all_at(header.as_bytes(), 0).map_err(failed())?;
        // The old file may be on the disk already, and must not be replaced by one that is not.
        self.file.sync_data().map_err(failed())
    }
}

fn failed() -> impl Fn(std::io::Error) -> StoreError {
    StoreError::io("writing an index anew")
}

/// Only the holder of the lock writes this file, so what a dead one left is overwritten.
fn create_new(folder: &Folder) -> Result<File, StoreError> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_TRUNC;
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(folder.top(), NEW_FILE, flags, FILE_MODE);
    file.map(File::from).map_err(StoreError::folder("beginning an index"))
}

/// The new file becomes the index.
fn take_name(folder: &Folder) -> Result<(), StoreError> {
    let renamed = renameat(folder.top(), NEW_FILE, folder.top(), FILE);
    renamed.map_err(StoreError::folder("replacing an index"))
}

fn header(uid_validity: u32, base_bytes: u64, base_messages: u32) -> Header {
    let mut header = Header {
        magic: MAGIC,
        version: VERSION.into(),
        uid_validity: uid_validity.into(),
        base_bytes: base_bytes.into(),
        base_messages: base_messages.into(),
        reserved: [0; 32],
        crc: 0.into(),
    };
    header.crc = header_crc(&header).into();
    header
}

const NEW_FILE: &str = "torpor.index.new";
const DAMAGED_FILE: &str = "torpor.index.damaged";
const WRITE_BYTES: usize = 64 * 1024;
