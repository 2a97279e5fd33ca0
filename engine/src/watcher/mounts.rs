//! From a device number to an open directory on its filesystem, which file handles need.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;

use super::fdinfo;

/// Mount points that were needed lately, open.
#[derive(Default)]
pub struct Mounts {
    open: HashMap<(u32, u32), File>,
}

impl Mounts {
    /// A directory on the filesystem with this major and minor number. ENOENT: not mounted here.
    pub fn find(&mut self, device: (u32, u32)) -> io::Result<&File> {
        match self.open.entry(device) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let table = fs::read("/proc/thread-self/mountinfo")?;
                let mut points = mount_points(&table, device);
                let opened = points.find_map(|(id, path)| open(id, path).ok());
                Ok(unknown.insert(opened.ok_or(io::ErrorKind::NotFound)?))
            }
        }
    }

    /// A filesystem may have been unmounted and another mounted under the same number.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// True when there is nothing to forget.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Opens a mount point, unless something else has been mounted over it.
fn open(id: u64, path: OsString) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NONBLOCK;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match fdinfo::mount_id(&directory)? == id {
        true => Ok(directory),
        false => Err(io::Error::other("hidden below another mount")),
    }
}

/// Ids and paths of the mounts of a device (proc_pid_mountinfo(5)).
fn mount_points(table: &[u8], device: (u32, u32)) -> impl Iterator<Item = (u64, OsString)> {
    let device = format!("{}:{}", device.0, device.1);
    table.split(|byte| *byte == b'\n').filter_map(move |line| {
        let mut words = line.split(|byte| *byte == b' ');
        let id = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let (_parent, number) = (words.next()?, words.next()?);
        let (_root, path) = (words.next()?, words.next()?);
        (number == device.as_bytes()).then(|| (id, OsString::from_vec(unescape(path))))
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(path: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\').and_then(|code| {
            let code = str::from_utf8(code).ok()?;
            u8::from_str_radix(code, 8).ok()
        });
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_one_device_are_listed_in_order() {
        let table = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            31 27 0:26 / /srv/a\\040b rw shared:1 - tmpfs tmpfs rw\n\
            40 27 254:0 /mail /srv/mail rw - ext4 /dev/vda rw\nbroken\n";
        let found: Vec<_> = mount_points(table, (254, 0)).collect();
        assert_eq!(found, [(27, "/".into()), (40, "/srv/mail".into())]);
        let found: Vec<_> = mount_points(table, (0, 26)).collect();
        assert_eq!(found, [(31, "/srv/a b".into())]);
        assert_eq!(unescape(b"a\\134\\"), b"a\\\\");
    }

    #[test]
    fn the_root_is_found_and_an_unknown_device_is_not() {
        let stat = nix::sys::stat::stat("/proc").expect("proc is mounted");
        let number = |part: u64| u32::try_from(part).expect("small");
        let (major, minor) =
            (nix::sys::stat::major(stat.st_dev), nix::sys::stat::minor(stat.st_dev));
        let mut mounts = Mounts::default();
        assert!(mounts.find((number(major), number(minor))).is_ok());
        let missing = mounts.find((4095, 77)).expect_err("no such device");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        mounts.forget();
        assert!(mounts.is_empty());
    }
}
