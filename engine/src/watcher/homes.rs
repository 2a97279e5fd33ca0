//! Directories found by their numbers, below a folder of mail homes.
//!
//! Opening by file handle takes CAP_DAC_READ_SEARCH, which an ordinary user has not. Where all
//! mail lies in the Maildir++ homes of one folder, a watched directory can be found without: it is
//! a `new` or `cur` of a home or of one of its dot-folders. A few dozen bytes are kept for each
//! home; homes that have not changed since they were looked at are not looked at again.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

/// The homes of one folder.
pub struct Homes {
    folder: PathBuf,
    /// In the order in which they were found, and when each had last changed.
    homes: Vec<(OsString, Changed)>,
    numbers: HashMap<OsString, u32>,
    /// From a directory's inode to its home.
    inodes: HashMap<u64, u32>,
}

type Changed = (i64, i64);

impl Homes {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, homes: Vec::new(), numbers: HashMap::new(), inodes: HashMap::new() }
    }

    /// Opens (O_PATH) the directory with this inode on the filesystem of this major and minor
    /// number. ENOENT: it is in no home.
    pub fn open(&mut self, device: (u32, u32), inode: u64) -> io::Result<File> {
        if let Some(found) = self.look(device, inode) {
            return Ok(found);
        }
        self.survey()?;
        self.look(device, inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Looks in the home that is known to have it.
    fn look(&self, device: (u32, u32), inode: u64) -> Option<File> {
        let home = self.homes.get(*self.inodes.get(&inode)? as usize)?;
        let paths = mail_folders(&self.folder.join(&home.0)).into_iter();
        let mut opened = paths.filter_map(|path| open(&path).ok());
        // What a path leads to is looked at once it is open: it may have been moved.
        opened.find(|directory| is_the_one(directory, device, inode))
    }

    /// Looks at all homes that are new or have changed.
    fn survey(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            // Followed nowhere: a link could lead out of the folder.
            let Ok(data) = fs::symlink_metadata(&path) else { continue };
            let changed = (data.mtime(), data.mtime_nsec());
            let number = self.numbers.get(&name).copied();
            let known = number.map(|number| &mut self.homes[number as usize]);
            if !data.is_dir() || known.as_ref().is_some_and(|known| known.1 == changed) {
                continue;
            }
            match known {
                Some(known) => known.1 = changed,
                None => {
                    self.numbers.insert(name.clone(), self.homes.len() as u32);
                    self.homes.push((name.clone(), changed));
                }
            }
            let number = self.numbers[&name];
            let inodes = mail_folders(&path).into_iter().filter_map(|path| {
                let data = fs::symlink_metadata(path).ok()?;
                data.is_dir().then(|| data.ino())
            });
            self.inodes.extend(inodes.map(|inode| (inode, number)));
        }
        Ok(())
    }
}

/// Where a home has mail: INBOX first, then the folders of Maildir++.
fn mail_folders(home: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(home).into_iter().flatten().flatten();
    let dotted = below.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."));
    let folders = std::iter::once(home.to_owned()).chain(dotted.map(|entry| entry.path()));
    folders.flat_map(|folder| [folder.join("new"), folder.join("cur")]).collect()
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn is_the_one(directory: &File, device: (u32, u32), inode: u64) -> bool {
    directory.metadata().is_ok_and(|data| {
        let number = (major(data.dev()), minor(data.dev()));
        data.ino() == inode && number == (device.0.into(), device.1.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("torpor-homes-{}-{number}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            fs::create_dir(&folder.0).expect("made");
            folder
        }

        fn make(&self, path: &str) -> (u64, (u32, u32)) {
            let path = self.0.join(path);
            fs::create_dir_all(&path).expect("made");
            let data = fs::metadata(path).expect("made");
            let number = |part: u64| u32::try_from(part).expect("small");
            (data.ino(), (number(major(data.dev())), number(minor(data.dev()))))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn mail_is_found_wherever_a_home_may_have_it_and_nowhere_else() {
        let folder = Folder::new();
        let mut homes = Homes::new(folder.0.clone());
        let found = |homes: &mut Homes, (inode, device)| homes.open(device, inode).is_ok();
        for path in ["ann/new", "ann/cur", "ann/.Sent/new", "bob/cur"] {
            let place = folder.make(path);
            assert!(found(&mut homes, place), "{path}");
        }
        for path in ["ann/tmp", "ann/Sent/new", "new", "bob/.A/.B/new"] {
            let place = folder.make(path);
            assert!(!found(&mut homes, place), "{path}");
        }
        let (inode, (major, minor)) = folder.make("eve/new");
        assert!(homes.open((major, minor + 1), inode).is_err(), "another filesystem's");
    }

    #[test]
    fn what_has_moved_is_found_again_and_links_are_not_followed() {
        let folder = Folder::new();
        let outside = Folder::new();
        let mut homes = Homes::new(folder.0.clone());
        let (inode, device) = folder.make("ann/.Old/new");
        assert!(homes.open(device, inode).is_ok());
        fs::rename(folder.0.join("ann/.Old"), folder.0.join("ann/.New")).expect("renamed");
        assert!(homes.open(device, inode).is_ok());
        fs::rename(folder.0.join("ann/.New"), outside.0.join("x")).expect("moved");
        assert!(homes.open(device, inode).is_err());
        std::os::unix::fs::symlink(&outside.0, folder.0.join("eve")).expect("linked");
        fs::rename(outside.0.join("x/new"), outside.0.join("new")).expect("moved");
        assert!(homes.open(device, inode).is_err());
    }
}
