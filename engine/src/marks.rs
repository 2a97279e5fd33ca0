//! What the kernel says through fanotify marks on whole filesystems (fanotify(7)).
//!
//! A mark tells of every change on its filesystem, by file handle. Nothing is kept for a directory
//! that somebody watches: its number is made of its handle, here and by the watcher alike, and what
//! bears a number that nobody sleeps on is dropped. Two directories that come to one number are one
//! mailbox to us: their sleepers wake for each other's changes too, and none is missed.

use inotify::EventMask;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::watch::{MARKED_MIN, MARKS_LOST, WatchEvent};

/// The changes in a buffer as read(2) fills it: of one event up to two, for the directory in which
/// something happened and for the file that it happened to. Bytes that are no whole event count as
/// lost events: better one wake too many than one too few.
pub fn events(bytes: &[u8]) -> impl Iterator<Item = WatchEvent> {
    let (mut bytes, mut mask, mut records) = (bytes, 0, &bytes[..0]);
    core::iter::from_fn(move || {
        loop {
            if records.is_empty() {
                if bytes.is_empty() {
                    return None;
                }
                let Some((event, its_records, rest)) = split(bytes) else { break };
                (bytes, mask, records) = (rest, event.mask as u32, its_records);
                if event.mask & libc::FAN_Q_OVERFLOW != 0 {
                    return Some(LOST);
                }
            } else {
                let Some((wd, rest)) = record(records) else { break };
                records = rest;
                if let Some(wd) = wd {
                    return Some(WatchEvent { wd, mask });
                }
            }
        }
        (bytes, records) = (&[], &[]);
        Some(LOST)
    })
}

/// The number of what has this handle on a filesystem, `filesystem` being the first half of its
/// `f_fsid` (statfs(2)).
///
/// It is the inode's number where the handle is known to hold it, so that neighbours on the disk
/// are neighbours in the table of watches. Of other handles it is a checksum.
pub fn number(filesystem: u32, kind: i32, handle: &[u8]) -> i32 {
    let place = INODES.iter().find(|known| (known.kind, known.bytes) == (kind, handle.len()));
    let inode = match place.and_then(|known| handle[4 * known.word..].first_chunk()) {
        Some(word) => u32::from_ne_bytes(*word),
        None => crc32fast::hash(handle),
    };
    // Filesystems of one machine number their inodes alike.
    let base = crc32fast::hash(&filesystem.to_ne_bytes());
    MARKED_MIN | (inode.wrapping_add(base) & (MARKED_MIN.cast_unsigned() - 1)).cast_signed()
}

/// The first event, its records, and what follows it.
fn split(bytes: &[u8]) -> Option<(Event, &[u8], &[u8])> {
    let (event, _) = Event::read_from_prefix(bytes).ok()?;
    let (whole, rest) = bytes.split_at_checked(event.len as usize)?;
    let records = whole.get(event.head_len as usize..)?;
    let is_known = event.version == libc::FANOTIFY_METADATA_VERSION
        && event.head_len as usize >= size_of::<Event>();
    is_known.then_some((event, records, rest))
}

/// The number that the first record tells, if it is one of a handle, and what follows it.
fn record(bytes: &[u8]) -> Option<(Option<i32>, &[u8])> {
    let (head, _) = Record::read_from_prefix(bytes).ok()?;
    let (whole, rest) = bytes.split_at_checked(head.len as usize)?;
    if whole.len() < size_of::<Record>() {
        return None;
    }
    if !HANDLES.contains(&head.kind) {
        return Some((None, rest));
    }
    let (handle, name) = Handle::read_from_prefix(&whole[size_of::<Record>()..]).ok()?;
    let name = name.get(..handle.bytes as usize)?;
    Some((Some(number(handle.filesystem[0], handle.kind, name)), rest))
}

/// struct fanotify_event_metadata.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Event {
    len: u32,
    version: u8,
    _reserved: u8,
    head_len: u16,
    mask: u64,
    _fd: i32,
    _pid: i32,
}

/// struct fanotify_event_info_header.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Record {
    kind: u8,
    _pad: u8,
    len: u16,
}

/// What follows it in a record of a handle: `__kernel_fsid_t` and the head of struct file_handle.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Handle {
    filesystem: [u32; 2],
    bytes: u32,
    kind: i32,
}

/// Where a filesystem's handles have the inode's number, or its lower half.
struct Inode {
    kind: i32,
    bytes: usize,
    word: usize,
}

const INODES: [Inode; 4] = [
    // ext4 and whoever uses the kernel's own form (FILEID_INO32_GEN).
    Inode { kind: 0x01, bytes: 8, word: 0 },
    // tmpfs: the generation comes first.
    Inode { kind: 0x01, bytes: 12, word: 1 },
    // xfs with numbers of 64 bits.
    Inode { kind: 0x81, bytes: 12, word: 0 },
    // btrfs, without the parent.
    Inode { kind: 0x4d, bytes: 20, word: 0 },
];
/// Records of the file, of its directory, and of the directory with a name.
const HANDLES: [u8; 3] = [
    libc::FAN_EVENT_INFO_TYPE_FID,
    libc::FAN_EVENT_INFO_TYPE_DFID,
    libc::FAN_EVENT_INFO_TYPE_DFID_NAME,
];
const LOST: WatchEvent = WatchEvent { wd: MARKS_LOST, mask: EventMask::Q_OVERFLOW.bits() };

const _: () = assert!(size_of::<Event>() == size_of::<libc::fanotify_event_metadata>());
const _: () = assert!(size_of::<Record>() + size_of::<Handle>() == 20);

#[cfg(test)]
mod tests;
