//! Whole filesystems that are heard through one fanotify instance.
//!
//! A mark takes CAP_SYS_ADMIN and is made once, before an engine gives that up. From then on a
//! mailbox on the filesystem costs the kernel nothing, where two inotify watches pin two inodes; in
//! return every change on the filesystem is told, whoever's it is.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::inotify::AddWatchFlags;
use nix::sys::stat::{makedev, stat};
use nix::sys::statvfs::statvfs;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::fdinfo::{self, Mark};
use super::remote;
use crate::marks::number;

/// The instance and what is marked.
pub struct Marks {
    instance: OwnedFd,
    filesystems: Vec<Filesystem>,
}

/// A filesystem that is marked, as it is told to a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Filesystem {
    pub device: u64,
    /// First half of `f_fsid`.
    pub id: u32,
    /// 0.
    pub spare: u32,
}

impl Marks {
    /// Marks the filesystems that these folders lie on. What cannot be marked is said in one line
    /// each; its mailboxes get inotify watches.
    pub fn make(folders: &[PathBuf]) -> (Option<Self>, Vec<String>) {
        let complaint = |what: &Path, error: &io::Error| {
            let what = what.display();
            let lacks = match error.kind() {
                io::ErrorKind::PermissionDenied => " without CAP_SYS_ADMIN",
                _ => "",
            };
            format!(
                "host: watch.fanotify_dirs: {what} cannot be marked{lacks}: {error}; its mailboxes \
                 get inotify watches, which cost 2.7 KB of kernel memory each"
            )
        };
        let instance = match open() {
            Ok(instance) => instance,
            Err(error) => {
                let lines = folders.iter().map(|folder| complaint(folder, &error));
                return (None, lines.collect());
            }
        };
        let mut filesystems = Vec::new();
        let refused = folders.iter().filter_map(|folder| {
            let error = add(&instance, &mut filesystems, folder).err()?;
            Some(complaint(folder, &error))
        });
        let complaints = refused.collect();
        let marks = Self { instance: instance.into(), filesystems };
        (Some(marks).filter(|marks| !marks.filesystems.is_empty()), complaints)
    }

    /// Those that somebody else has made.
    pub fn of(instance: OwnedFd, filesystems: Vec<Filesystem>) -> Self {
        Self { instance, filesystems }
    }

    /// Where they are.
    pub fn filesystems(&self) -> &[Filesystem] {
        &self.filesystems
    }

    /// The instance, for the ring to read.
    pub fn source(&self) -> io::Result<OwnedFd> {
        self.instance.try_clone()
    }

    /// The number under which the events of a worker's `watch` are heard, if they are: it lies on
    /// this device, and asks for nothing that a mark does not tell.
    pub fn number(&self, device: u64, watch: &Mark) -> Option<i32> {
        let filesystem = self.filesystems.iter().find(|known| known.device == device)?;
        let asked = u64::from(watch.mask & AddWatchFlags::IN_ALL_EVENTS.bits());
        let handle = watch.handle.as_ref().filter(|_| asked & !mask().bits() == 0)?;
        Some(number(filesystem.id, handle.kind(), handle.name()))
    }

    /// Takes note of filesystems that have been unmounted, which ends their marks without a word.
    /// `false`: there are some, and whatever sleeps on their mailboxes hears nothing more.
    pub fn look(&mut self) -> bool {
        let Ok(live) = marked(&self.instance) else { return true };
        let had = self.filesystems.len();
        self.filesystems.retain(|known| live.contains(&known.device));
        self.filesystems.len() == had
    }
}

impl AsFd for Marks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

fn add(instance: &Fanotify, all: &mut Vec<Filesystem>, folder: &Path) -> io::Result<()> {
    let device = stat(folder)?.st_dev;
    if all.iter().any(|known| known.device == device) {
        return Ok(());
    }
    if remote::is_remote(&File::open(folder)?)? {
        return Err(io::Error::other("others write to it too, and no mark tells of that"));
    }
    let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
    instance.mark(flags, mask(), AT_FDCWD, Some(folder))?;
    if !marked(instance)?.contains(&device) {
        let undo = MarkFlags::FAN_MARK_REMOVE | MarkFlags::FAN_MARK_FILESYSTEM;
        instance.mark(undo, mask(), AT_FDCWD, Some(folder))?;
        return Err(io::Error::other("its files have device numbers of their own"));
    }
    let id = statvfs(folder)?.filesystem_id() as u32;
    all.push(Filesystem { device, id, spare: 0 });
    Ok(())
}

/// Devices with a mark.
fn marked(instance: impl AsFd) -> io::Result<Vec<u64>> {
    let devices = fdinfo::marked_devices(instance)?;
    let number = |(major, minor): (u32, u32)| makedev(major.into(), minor.into());
    Ok(devices.into_iter().map(number).collect())
}

/// Handles of directories and files, without names: so deliveries to one directory that nobody has
/// read of yet are one event. Linux 5.9.
fn open() -> io::Result<Fanotify> {
    let reports = libc::FAN_REPORT_FID | libc::FAN_REPORT_DIR_FID;
    let flags = InitFlags::FAN_CLASS_NOTIF
        | InitFlags::FAN_CLOEXEC
        | InitFlags::FAN_NONBLOCK
        | InitFlags::from_bits_retain(reports);
    Ok(Fanotify::init(flags, EventFFlags::O_RDONLY)?)
}

/// What Dovecot and our own worker ask inotify for, which has the same bits. FAN_ONDIR: also the
/// end of a directory.
fn mask() -> MaskFlags {
    MaskFlags::FAN_CREATE
        | MaskFlags::FAN_DELETE
        | MaskFlags::FAN_DELETE_SELF
        | MaskFlags::FAN_MOVE
        | MaskFlags::FAN_MODIFY
        | MaskFlags::FAN_ONDIR
}
