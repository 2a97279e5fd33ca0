//! The folder of one mailbox: new/, cur/ and tmp/ by descriptors, and the lock.
//!
//! Every call goes through a descriptor that was opened without following links, so a mailbox
//! stays the same folder whatever is done to paths above it. Names are bytes, as on disk.

mod files;
mod lock;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};

pub use lock::{Locked, uninterrupted};

use crate::StoreError;
use crate::file_name::Letters;

#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    top: OwnedFd,
    new: OwnedFd,
    cur: OwnedFd,
    tmp: OwnedFd,
    lock: Arc<File>,
}

/// The two folders that hold messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    New,
    Cur,
}

impl Place {
    pub const BOTH: [Place; 2] = [Place::New, Place::Cur];

    pub fn of(letters: Letters) -> Place {
        if letters.has(Letters::IN_NEW) { Place::New } else { Place::Cur }
    }
}

impl Folder {
    /// Opens a folder that is there; makes what a Maildir needs inside.
    pub fn open(path: &Path) -> Result<Folder, StoreError> {
        let failed = StoreError::folder("opening a mailbox");
        let at = nix::fcntl::open(path, folder_flags(), Mode::empty()).map_err(&failed)?;
        let part = |name: &str| match openat(&at, name, folder_flags(), Mode::empty()) {
            Err(Errno::ENOENT) => {
                match mkdirat(&at, name, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                openat(&at, name, folder_flags(), Mode::empty())
            }
            done => done,
        };
        let (new, cur, tmp) = (part("new"), part("cur"), part("tmp"));
        let (new, cur, tmp) = (new.map_err(&failed)?, cur.map_err(&failed)?, tmp.map_err(&failed)?);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let lock = openat(&at, LOCK_FILE, flags, FILE_MODE).map_err(&failed)?;
        let lock = Arc::new(File::from(lock));
        Ok(Folder { path: path.to_owned(), top: at, new, cur, tmp, lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself, where the index lies.
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    pub fn place(&self, place: Place) -> BorrowedFd<'_> {
        match place {
            Place::New => self.new.as_fd(),
            Place::Cur => self.cur.as_fd(),
        }
    }

    /// `NotFound` if the folder has gone from its path: deleted, renamed, or moved away.
    pub fn check(&self) -> Result<(), StoreError> {
        let failed = StoreError::folder("looking for a mailbox");
        let there = nix::sys::stat::lstat(&self.path).map_err(&failed)?;
        let here = fstat(&self.top).map_err(&failed)?;
        match there.st_ino == here.st_ino && there.st_dev == here.st_dev {
            true => Ok(()),
            false => Err(StoreError::NotFound),
        }
    }

    /// True of two handles of one folder.
    pub fn is_same(&self, other: &Folder) -> Result<bool, StoreError> {
        let stat = |folder: &Folder| fstat(&folder.top).map_err(StoreError::folder("stat"));
        let (here, there) = (stat(self)?, stat(other)?);
        Ok(here.st_ino == there.st_ino && here.st_dev == there.st_dev)
    }

    /// A file of the folder itself, if it is there.
    pub fn stat(&self, name: &str) -> Result<Option<FileStat>, StoreError> {
        match fstatat(&self.top, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(StoreError::io("stat")(errno)),
        }
    }
}

fn folder_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

pub const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const LOCK_FILE: &str = "torpor.lock";
