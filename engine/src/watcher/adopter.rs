//! Adoption: from an inotify instance of a worker to watches on the one that everybody shares.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::FileStat;
use rustix::fs::inotify::{WatchFlags, add_watch, remove_watch};
use rustix::io::Errno;

use super::fdinfo::{self, Mark};
use super::marks::Marks;
use super::opener::Opener;
use super::poller::Stamp;
use super::remote::Remote;
use crate::watch::{WATCHES_PER_NOTIFY_MAX, is_marked};

/// Where mailboxes are heard. Who sleeps on which, the core knows.
pub struct Adopter {
    /// The shared instance.
    shared: OwnedFd,
    /// Filesystems of which all is heard anyhow.
    pub marks: Option<Marks>,
    remote: Remote,
    pub opener: Opener,
}

/// What the polling thread should look at: where among the numbers it is, its own, what it is, and
/// how it was.
pub type Polled = (usize, i32, Mark, Stamp);

/// A mailbox that is heard.
pub struct Heard {
    pub wds: Wds,
    /// Something may have happened that its worker does not know.
    pub changed: bool,
    /// Of these, others' changes are not told.
    pub polled: Vec<Polled>,
}

/// Numbers, -1 for none.
type Wds = [i32; WATCHES_PER_NOTIFY_MAX];

/// One directory or file of it.
struct Added {
    wd: i32,
    /// A watch on the shared instance that was not there before.
    is_new: bool,
    stat: FileStat,
    is_remote: bool,
}

impl Adopter {
    /// For a shared instance and marks that the ring reads.
    pub fn new(shared: OwnedFd, marks: Option<Marks>, remote: Remote, opener: Opener) -> Self {
        Self { shared, marks, remote, opener }
    }

    /// Listens to everything that `notify` watches and tells whether any of it has changed at or
    /// after `since`. Watches are added first and the passed descriptor is asked last, so that no
    /// event falls between the two. On an error nothing has been added.
    pub fn adopt(&mut self, notify: &OwnedFd, since: SystemTime) -> io::Result<Heard> {
        let marks = fdinfo::marks(notify, FDINFO_BYTES_MAX)?;
        if marks.len() > WATCHES_PER_NOTIFY_MAX {
            return Err(io::Error::other("more watches than a mailbox has"));
        }
        // A pipe has no watches either, but it is not empty of news because of that.
        if marks.is_empty() {
            return Err(io::Error::other("no inotify instance, or one without watches"));
        }
        let mut fresh = NO_WDS;
        let mut heard = Heard { wds: NO_WDS, changed: false, polled: Vec::new() };
        let all = marks.into_iter().enumerate();
        let added = all.map(|(at, mark)| {
            let added = self.add(&mark)?;
            fresh[at] = if added.is_new { added.wd } else { -1 };
            heard.note(at, mark, &added, since);
            Ok(())
        });
        let added: io::Result<()> = added.collect();
        match added.and_then(|()| Ok(is_readable(notify)?)) {
            Ok(readable) => Ok(Heard { changed: heard.changed || readable, ..heard }),
            Err(error) => {
                self.take_back(&fresh);
                Err(error)
            }
        }
    }

    /// Removes a watch. What lies below a mark has none.
    pub fn release(&self, wd: i32) {
        if !is_marked(wd) {
            // EINVAL: the directory is gone and its watch with it.
            let _ = remove_watch(&self.shared, wd);
        }
    }

    fn add(&mut self, mark: &Mark) -> io::Result<Added> {
        let (inode, stat) = self.opener.open(mark)?;
        let is_remote = self.remote.holds(&inode, &stat)?;
        let marks = self.marks.as_ref().filter(|_| !is_remote);
        if let Some(wd) = marks.and_then(|marks| marks.number(stat.st_dev, mark)) {
            return Ok(Added { wd, is_new: false, stat, is_remote });
        }
        let events = mark.mask & WatchFlags::ALL_EVENTS.bits();
        let path = format!("/proc/self/fd/{}", inode.as_raw_fd());
        let add = |flag: u32| {
            add_watch(&self.shared, path.as_str(), WatchFlags::from_bits_retain(events | flag))
        };
        let (wd, is_new) = match add(libc::IN_MASK_CREATE) {
            // Sleepers of one directory may have asked for different events: add, not replace.
            Err(Errno::EXIST) => (add(libc::IN_MASK_ADD)?, false),
            added => (added?, true),
        };
        assert!(wd >= 0, "the kernel gave watch {wd}");
        if is_marked(wd) && self.marks.is_some() {
            let _ = remove_watch(&self.shared, wd);
            return Err(io::Error::other("the kernel's numbers have come to those of the marks"));
        }
        Ok(Added { wd, is_new, stat, is_remote })
    }

    /// Removes watches that nobody has been told of.
    fn take_back(&self, fresh: &Wds) {
        fresh.iter().filter(|wd| **wd >= 0).for_each(|wd| self.release(*wd));
    }
}

impl Heard {
    fn note(&mut self, at: usize, mark: Mark, added: &Added, since: SystemTime) {
        let Added { wd, stat, is_remote, .. } = added;
        let times = [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)];
        self.wds[at] = *wd;
        self.changed |= times.into_iter().any(|time| is_late(time, since));
        if *is_remote {
            self.polled.push((at, *wd, mark, Stamp::of(stat)));
        }
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
