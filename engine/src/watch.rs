//! Mailbox watches: which sleepers wait for which directories.
//!
//! A notify descriptor is *adopted* by the watcher (see `watcher.rs`): its directories go on one
//! shared inotify instance, or are known to lie below a fanotify mark, and the descriptor is
//! closed. What comes back is [`Adopted`], with a number for each directory. What the kernel then
//! says is read here (inotify) and in `marks.rs` (fanotify), and names the same numbers.

use inotify::EventMask as WatchMask;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A notify descriptor names at most this many directories or files (Maildir: new and cur).
/// One with more is kept and polled instead.
pub const WATCHES_PER_NOTIFY_MAX: usize = 4;

/// What the core asks of the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchOrder {
    /// Adopt the notify descriptor `passed` for `slot`. Changes at or after `since_us` (wall
    /// clock, microseconds since the epoch) may be unknown to the worker and count.
    Adopt { passed: crate::ring::Passed, slot: u32, generation: u32, since_us: u64 },
    /// Nobody sleeps on `wd` any more. Where an adoption of it is on its way to us, the kernel's
    /// word that the watch has gone (IN_IGNORED) is a change to it: so neither side has to count
    /// who sleeps on what.
    Release { wd: i32 },
    /// Remove the watches of the descriptor kept for `slot` by hand and close it later.
    Retire { slot: u32 },
}

/// The watcher's reply to [`WatchOrder::Adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub slot: u32,
    pub generation: u32,
    pub outcome: Adoption,
}

/// How an adoption ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Heard under these numbers (-1: none) from now on; the descriptor is closed.
    /// `polled`: of one of them no kernel tells, and the watcher looks at it. `changed`: something
    /// happened between the worker's last look and now.
    Shared { wds: [i32; WATCHES_PER_NOTIFY_MAX], polled: bool, changed: bool },
    /// Could not be adopted (no permission, foreign filesystem, not an inotify instance): the
    /// descriptor has been seated as the slot's notify descriptor and wants to be polled.
    Kept,
}

/// What has happened to a directory or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// Its number; -1 for an overflow of the inotify instance, [`MARKS_LOST`] for one of the marks.
    pub wd: i32,
    /// Bits of inotify(7), of which fanotify has the same.
    pub mask: u32,
}

/// True for the number of what lies below a fanotify mark: those of inotify are below it.
pub fn is_marked(wd: i32) -> bool {
    wd >= MARKED_MIN
}

impl WatchEvent {
    /// The kernel's queue was full: any event may be missing.
    pub fn is_overflow(self) -> bool {
        self.wd < 0 || self.mask & WatchMask::Q_OVERFLOW.bits() != 0
    }
}

/// The events in a buffer as read(2) fills it, inotify(7). Names are skipped. Bytes that are no
/// whole event, and numbers that no watch has, come out as an overflow: better one wake too many
/// than one too few.
pub fn events(mut bytes: &[u8]) -> impl Iterator<Item = WatchEvent> {
    core::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Ok((header, rest)) = Header::read_from_prefix(bytes) else {
            bytes = &[];
            return Some(OVERFLOW);
        };
        let name_bytes = header.len as usize;
        if name_bytes > rest.len() {
            bytes = &[];
            return Some(OVERFLOW);
        }
        bytes = &rest[name_bytes..];
        Some(if header.wd < 0 { OVERFLOW } else { WatchEvent { wd: header.wd, mask: header.mask } })
    })
}

/// `struct inotify_event` without its name.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    wd: i32,
    mask: u32,
    _cookie: u32,
    len: u32,
}

/// A request of the engine with the descriptor it is about, as the watcher thread takes it.
pub type WatchJob<D> = (WatchOrder, Option<D>);

/// Numbers from here on are made of file handles; the kernel gives those below one after the other.
pub const MARKED_MIN: i32 = 1 << 30;
/// In place of a number: events of the marks were lost.
pub const MARKS_LOST: i32 = -2;
/// Place of the read of the shared inotify instance in its token, and of that of the marks.
pub const INOTIFY: u32 = 0;
pub const MARKS: u32 = 1;

const OVERFLOW: WatchEvent = WatchEvent { wd: -1, mask: WatchMask::Q_OVERFLOW.bits() };

const _: () = assert!(size_of::<Header>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    fn event(wd: i32, mask: u32, name: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [wd as u32, mask, 0, name.len() as u32] {
            bytes.extend_from_slice(&number.to_ne_bytes());
        }
        bytes.extend_from_slice(name);
        bytes
    }

    #[test]
    fn names_are_skipped() {
        let bytes =
            [event(1, 0x100, b"mail\0\0\0\0"), event(2, 0x8000, b""), event(-1, 0x4000, b"")];
        let read: Vec<WatchEvent> = events(&bytes.concat()).collect();
        assert_eq!(read.iter().map(|event| event.wd).collect::<Vec<_>>(), [1, 2, -1]);
        let overflows: Vec<bool> = read.iter().map(|event| event.is_overflow()).collect();
        assert_eq!(overflows, [false, false, true]);
    }

    /// [`MARKS_LOST`] would wake nobody whose watch is on this instance.
    #[test]
    fn a_number_below_zero_is_an_overflow_of_this_instance() {
        for wd in [-1, MARKS_LOST, i32::MIN] {
            assert_eq!(events(&event(wd, 0x200, b"")).collect::<Vec<_>>(), [OVERFLOW]);
        }
    }

    #[test]
    fn a_torn_buffer_counts_as_an_overflow_and_ends() {
        let whole = event(1, 0x100, b"mail\0\0\0\0");
        for end in 1..whole.len() {
            let read: Vec<WatchEvent> = events(&whole[..end]).collect();
            assert_eq!(read, [OVERFLOW], "cut at {end}");
        }
    }
}
