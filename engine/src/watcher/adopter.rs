//! Adoption: from an inotify instance of a worker to watches on the one that everybody shares.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, Inotify};
use nix::sys::stat::fstat;

use crate::sys::handle::{open_by_handle, remove_watch};
use crate::watch::WATCHES_PER_NOTIFY_MAX;

use super::fdinfo::{self, Mark};
use super::homes::Homes;
use super::mounts::Mounts;

/// The shared instance. Who sleeps on which of its watches, the core knows.
pub struct Adopter {
    shared: Inotify,
    mounts: Mounts,
    /// Where to look for directories that may not be opened by handle.
    homes: Option<Homes>,
}

/// Watch numbers of the shared instance, -1 for none.
type Wds = [i32; WATCHES_PER_NOTIFY_MAX];

/// A watch on the shared instance.
struct Added {
    wd: i32,
    /// It was not there before.
    is_new: bool,
    is_late: bool,
}

impl Adopter {
    /// For a shared instance that the ring reads, and a folder of mail homes if there is one.
    pub fn new(shared: Inotify, homes: Option<PathBuf>) -> Self {
        let homes = homes.map(Homes::new);
        Self { shared, mounts: Mounts::default(), homes }
    }

    /// Puts everything that `notify` watches on the shared instance and tells whether any of it
    /// has changed at or after `since`. The watches are added first and the passed descriptor is
    /// asked last, so that no event falls between the two. On an error nothing has been added.
    pub fn adopt(&mut self, notify: &OwnedFd, since: SystemTime) -> io::Result<(Wds, bool)> {
        let marks = fdinfo::marks(notify, FDINFO_BYTES_MAX)?;
        if marks.len() > WATCHES_PER_NOTIFY_MAX {
            return Err(io::Error::other("more watches than a mailbox has"));
        }
        // A pipe has no watches either, but it is not empty of news because of that.
        if marks.is_empty() {
            return Err(io::Error::other("no inotify instance, or one without watches"));
        }
        let (mut wds, mut fresh, mut changed) = (NO_WDS, NO_WDS, false);
        for (at, mark) in marks.iter().enumerate() {
            match self.add(mark, since) {
                Ok(Added { wd, is_new, is_late }) => {
                    wds[at] = wd;
                    fresh[at] = if is_new { wd } else { -1 };
                    changed |= is_late;
                }
                Err(error) => {
                    self.take_back(&fresh);
                    return Err(error);
                }
            }
        }
        match is_readable(notify) {
            Ok(readable) => Ok((wds, changed || readable)),
            Err(errno) => {
                self.take_back(&fresh);
                Err(errno.into())
            }
        }
    }

    /// Removes a watch.
    pub fn release(&self, wd: i32) {
        // EINVAL: the directory is gone and its watch with it.
        let _ = remove_watch(&self.shared, wd);
    }

    /// True when mount points are open.
    pub fn has_mounts(&self) -> bool {
        !self.mounts.is_empty()
    }

    /// Closes the mount points.
    pub fn forget_mounts(&mut self) {
        self.mounts.forget();
    }

    fn add(&mut self, mark: &Mark, since: SystemTime) -> io::Result<Added> {
        let inode = match (self.open(mark), &mut self.homes) {
            (Err(_), Some(homes)) => homes.open(mark.device, mark.inode)?.into(),
            (opened, _) => opened?,
        };
        let stat = fstat(&inode)?;
        if stat.st_ino != mark.inode {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        let times = [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)];
        let is_late = times.into_iter().any(|time| is_late(time, since));
        let events = mark.mask & AddWatchFlags::IN_ALL_EVENTS.bits();
        let path = format!("/proc/self/fd/{}", inode.as_raw_fd());
        let add = |flag: u32| {
            let mask = AddWatchFlags::from_bits_retain(events | flag);
            self.shared.add_watch(path.as_str(), mask)
        };
        let (wd, is_new) = match add(libc::IN_MASK_CREATE) {
            // Sleepers of one directory may have asked for different events: add, not replace.
            Err(Errno::EEXIST) => (add(libc::IN_MASK_ADD)?, false),
            added => (added?, true),
        };
        assert!(wd.as_raw() >= 0, "the kernel gave watch {}", wd.as_raw());
        Ok(Added { wd: wd.as_raw(), is_new, is_late })
    }

    fn open(&mut self, mark: &Mark) -> io::Result<OwnedFd> {
        let handle = mark.handle.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        open_by_handle(self.mounts.find(mark.device)?.as_fd(), handle)
    }

    /// Removes watches that nobody has been told of.
    fn take_back(&self, fresh: &Wds) {
        fresh.iter().filter(|wd| **wd >= 0).for_each(|wd| self.release(*wd));
    }
}

/// Removes the watches of a descriptor that is ours alone, so that closing it later finds nothing
/// to wait for. What cannot be removed ends with the descriptor.
pub fn strip(notify: &OwnedFd) {
    for mark in fdinfo::marks(notify, STRIP_BYTES_MAX).unwrap_or_default() {
        let _ = remove_watch(notify, mark.wd);
    }
}

/// An event lies unread, or the other end of a pipe has been closed.
fn is_readable(notify: &OwnedFd) -> nix::Result<bool> {
    let mut asked = [PollFd::new(notify.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut asked, PollTimeout::ZERO)? > 0)
}

/// A time stamp far in the future is nobody's late change, just wrong, and would be for ever.
fn is_late((secs, nanos): (i64, i64), since: SystemTime) -> bool {
    let Ok(secs) = u64::try_from(secs) else { return false };
    let time = SystemTime::UNIX_EPOCH + Duration::new(secs, nanos.clamp(0, 999_999_999) as u32);
    time + TICK >= since && time <= SystemTime::now() + FUTURE_MAX
}

const NO_WDS: Wds = [-1; WATCHES_PER_NOTIFY_MAX];
/// Four watches of 128-byte handles, each written in hexadecimal, fit well.
const FDINFO_BYTES_MAX: u64 = 4096;
const STRIP_BYTES_MAX: u64 = 1 << 20;
/// Before Linux 6.13 a file's times lag behind the clock by up to one tick of the slowest kernel.
const TICK: Duration = Duration::from_millis(10);
/// File servers' clocks run ahead of ours by no more than this.
const FUTURE_MAX: Duration = Duration::from_secs(2);
