//! Writing an index anew: when there is none, and when its log has grown too long.
//!
//! The new file is complete before it takes the old one's name, so at every moment one whole
//! index is there. Handles that still read the old file notice by its inode.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat, renameat};
use zerocopy::IntoBytes;

use super::frame::Batch;
use super::layout::{Header, MAGIC, VERSION};
use super::{FILE, Index, header_crc};
use crate::StoreError;
use crate::folder::{FILE_MODE, Folder};

impl Index {
    /// Begins an index; the caller holds the lock, and `uid_validity` was never used before.
    /// Nothing waits for the disk: an index that a power failure takes is begun once more.
    pub fn create(folder: &Folder, uid_validity: u32) -> Result<Index, StoreError> {
        let mut file = create_new(folder)?;
        let failed = StoreError::io("writing an index");
        let header = header(uid_validity, size_of::<Header>() as u64, 0);
        file.write_all(header.as_bytes()).map_err(&failed)?;
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
        let mut file = create_new(folder)?;
        let failed = StoreError::io("writing an index anew");
        let table = &mut self.table;
        let messages = &table.messages;
        table.gone.compact(|uids| {
            let at = messages.partition_point(|message| message.uid < *uids.start());
            messages.get(at).is_some_and(|message| uids.contains(&message.uid))
        });
        file.write_all(&[0; size_of::<Header>()]).map_err(&failed)?;
        let mut bytes = size_of::<Header>() as u64;
        let mut batch = Batch::default();
        let mut flush = |batch: &mut Batch| {
            bytes += batch.finish().len() as u64;
            file.write_all(batch.finish()).map_err(&failed)?;
            batch.clear();
            Ok(())
        };
        let table = &self.table;
        batch.counters(table.uid_next, table.recent_next, table.highest_modseq);
        table.keywords.iter().for_each(|name| batch.keyword(name));
        for message in &table.messages {
            let base = self.base(message)?;
            let parts = (&base[..], message.flags, message.letters());
            batch.arrived(message.uid, message.modseq, parts);
            if batch.len() > WRITE_BYTES {
                flush(&mut batch)?;
            }
        }
        for range in table.gone.ranges() {
            batch.expunged(range.first.get(), range.last.get(), range.modseq.get());
            if batch.len() > WRITE_BYTES {
                flush(&mut batch)?;
            }
        }
        table.scanned.into_iter().for_each(|scanned| batch.scanned(scanned));
        flush(&mut batch)?;
        let header = header(self.uid_validity, bytes, table.messages.len() as u32);
        file.write_all_at(header.as_bytes(), 0).map_err(&failed)?;
        // The old file may be on the disk already, and must not be replaced by one that is not.
        file.sync_data().map_err(&failed)?;
        take_name(folder)
    }
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
