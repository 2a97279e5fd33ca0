//! The folder of one mailbox: new/, cur/ and tmp/ by descriptors, and the lock.
//!
//! Every call goes through a descriptor that was opened without following links, so a mailbox
//! stays the same folder whatever is done to paths above it. Names are bytes, as on disk.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};

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
                mkdirat(&at, name, Mode::S_IRWXU).or_else(unless(Errno::EEXIST))?;
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

    /// The right to change the mailbox, alone, until the guard is dropped.
    pub fn lock(&self) -> Result<Locked, StoreError> {
        self.lock_by(File::lock)
    }

    /// The right to read the index while nobody changes it.
    pub fn lock_shared(&self) -> Result<Locked, StoreError> {
        self.lock_by(File::lock_shared)
    }

    fn lock_by(&self, how: fn(&File) -> io::Result<()>) -> Result<Locked, StoreError> {
        uninterrupted(|| how(&self.lock)).map_err(StoreError::io("locking a mailbox"))?;
        Ok(Locked(self.lock.clone()))
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

    /// Calls `each` with the name of every file in the place that can be a message.
    pub fn walk(
        &self,
        place: Place,
        mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failed = StoreError::folder("reading a mailbox");
        let flags = folder_flags();
        let mut dir = Dir::openat(self.place(place), ".", flags, Mode::empty()).map_err(&failed)?;
        for entry in dir.iter() {
            let entry = entry.map_err(&failed)?;
            let name = entry.file_name().to_bytes();
            let is_file = match entry.file_type() {
                Some(kind) => kind == Type::File,
                // Some file systems do not tell it there.
                None => fstatat(self.place(place), name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG),
            };
            if is_file && !name.starts_with(b".") {
                each(name)?;
            }
        }
        Ok(())
    }

    /// The name that the file with this base has now, by reading the folder.
    pub fn locate(&self, base: &[u8]) -> Result<Option<(Place, Vec<u8>)>, StoreError> {
        let mut found = None;
        for place in [Place::Cur, Place::New] {
            self.walk(place, |name| {
                if crate::file_name::parse(name, false).0 == base {
                    found = Some((place, name.to_vec()));
                }
                Ok(())
            })?;
            if found.is_some() {
                break;
            }
        }
        Ok(found)
    }

    pub fn open_file(&self, place: Place, name: &[u8]) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(File::from(openat(self.place(place), name, flags, Mode::empty())?))
    }

    /// A new file in tmp/, for the caller alone.
    pub fn create_tmp(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.tmp, name, flags, FILE_MODE)?))
    }

    pub fn remove_tmp(&self, name: &str) {
        // Left-overs in tmp/ are nobody's message and swept later.
        let _ = unlinkat(&self.tmp, name, UnlinkatFlags::NoRemoveDir);
    }

    /// Removes what processes that died left in tmp/ so long ago that nobody can be writing it.
    pub fn sweep_tmp(&self) {
        let Ok(mut tmp) = Dir::openat(&self.tmp, ".", folder_flags(), Mode::empty()) else {
            return;
        };
        for entry in tmp.iter().flatten() {
            let name = entry.file_name();
            let Ok(stat) = fstatat(&self.tmp, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            let age = SystemTime::now().duration_since(UNIX_EPOCH + seconds(stat.st_mtime));
            let is_file = entry.file_type() == Some(Type::File);
            if is_file && age.is_ok_and(|age| age > TMP_AGE_MAX) {
                let _ = unlinkat(&self.tmp, name, UnlinkatFlags::NoRemoveDir);
            }
        }
    }

    /// The finished file of tmp/ becomes a message in cur/.
    pub fn publish(&self, tmp: &str, name: &[u8]) -> io::Result<()> {
        Ok(renameat(&self.tmp, tmp, &self.cur, name)?)
    }

    pub fn rename(&self, from: (Place, &[u8]), to: (Place, &[u8])) -> io::Result<()> {
        self.move_to(from, self, to)
    }

    /// As `rename` within one place, unless the name is taken.
    pub fn rename_new(&self, from: (Place, &[u8]), name: &[u8]) -> io::Result<()> {
        let (at, flags) = (self.place(from.0), RenameFlags::RENAME_NOREPLACE);
        Ok(renameat2(at, from.1, at, name, flags)?)
    }

    pub fn remove(&self, place: Place, name: &[u8]) -> io::Result<()> {
        Ok(unlinkat(self.place(place), name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// The file gets a second name in another mailbox's cur/.
    pub fn link_to(&self, from: (Place, &[u8]), to: &Folder, name: &[u8]) -> io::Result<()> {
        Ok(linkat(self.place(from.0), from.1, &to.cur, name, AtFlags::empty())?)
    }

    /// The file leaves for another mailbox.
    pub fn move_to(
        &self,
        from: (Place, &[u8]),
        folder: &Folder,
        to: (Place, &[u8]),
    ) -> io::Result<()> {
        Ok(renameat(self.place(from.0), from.1, folder.place(to.0), to.1)?)
    }

    /// Waits until the names in cur/ are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.cur)?)
    }
}

/// Holds a mailbox's lock. Two handles in one process lock each other out as two processes do.
#[derive(Debug)]
pub struct Locked(Arc<File>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.unlock().expect("a lock that is held can be given back");
    }
}

/// Waits for a lock through every signal.
pub fn uninterrupted(mut wait: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn seconds(since_epoch: i64) -> Duration {
    Duration::from_secs(since_epoch.try_into().unwrap_or(0))
}

pub fn folder_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// For `or_else`: success if the call failed with just this.
pub fn unless(accepted: Errno) -> impl Fn(Errno) -> nix::Result<()> {
    move |errno| if errno == accepted { Ok(()) } else { Err(errno) }
}

pub const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// The Maildir specification's bound for a delivery.
const TMP_AGE_MAX: Duration = Duration::from_secs(36 * 60 * 60);
const LOCK_FILE: &str = "torpor.lock";
