//! From a watch's description to its directory or file, open.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::stat::{FileStat, fstat};

use super::fdinfo::Mark;
use super::homes::Homes;
use super::mounts::Mounts;
use crate::sys::handle::open_by_handle;

/// By file handle, or by looking in the folder of all mail homes.
pub struct Opener {
    mounts: Mounts,
    /// Where to look for what may not be opened by handle.
    homes: Option<Homes>,
}

impl Opener {
    pub fn new(homes: Option<PathBuf>) -> Self {
        Self { mounts: Mounts::default(), homes: homes.map(Homes::new) }
    }

    /// Opens (O_PATH) what a worker watches, and says how it is. ESTALE: it is there no more.
    pub fn open(&mut self, mark: &Mark) -> io::Result<(OwnedFd, FileStat)> {
        let inode = match (self.by_handle(mark), &mut self.homes) {
            (Err(_), Some(homes)) => homes.open(mark.device, mark.inode)?.into(),
            (opened, _) => opened?,
        };
        let stat = fstat(&inode)?;
        match stat.st_ino == mark.inode {
            true => Ok((inode, stat)),
            false => Err(io::Error::from_raw_os_error(libc::ESTALE)),
        }
    }

    /// True when mount points are open.
    pub fn has_mounts(&self) -> bool {
        !self.mounts.is_empty()
    }

    /// Closes the mount points.
    pub fn forget_mounts(&mut self) {
        self.mounts.forget();
    }

    fn by_handle(&mut self, mark: &Mark) -> io::Result<OwnedFd> {
        let handle = mark.handle.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        open_by_handle(self.mounts.find(mark.device)?.as_fd(), handle)
    }
}
