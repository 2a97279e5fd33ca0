//! The files of a mailbox: reading its folders, and every step of a change.

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::{Dir, Type};
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::libc;
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};

use super::{FILE_MODE, Folder, Place, folder_flags};
use crate::{StoreError, file_name};

impl Folder {
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
                if file_name::parse(name, false).0 == base {
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

fn seconds(since_epoch: i64) -> Duration {
    Duration::from_secs(since_epoch.try_into().unwrap_or(0))
}

/// The Maildir specification's bound for a delivery.
const TMP_AGE_MAX: Duration = Duration::from_secs(36 * 60 * 60);
