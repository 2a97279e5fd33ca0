//! What procfs tells about a descriptor (proc(5), fdinfo).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};

use crate::sys::handle::FileHandle;

/// One watch of an inotify instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub wd: i32,
    pub inode: u64,
    /// Major and minor number of the filesystem, as in mountinfo.
    pub device: (u32, u32),
    pub mask: u32,
    /// Absent where the filesystem has no file handles.
    pub handle: Option<FileHandle>,
}

/// The watches of an inotify instance. An instance with more than `bytes_max` bytes of
/// description is refused: someone else's business is read only so far.
pub fn marks(inotify: impl AsFd, bytes_max: u64) -> io::Result<Vec<Mark>> {
    let text = fdinfo(inotify, bytes_max)?;
    parse(&text).ok_or_else(|| io::Error::other("a watch is described in an unknown form"))
}

/// Major and minor numbers of the filesystems that a fanotify instance has marked.
pub fn marked_devices(fanotify: impl AsFd) -> io::Result<Vec<(u32, u32)>> {
    let text = fdinfo(fanotify, MARKS_BYTES_MAX)?;
    let marks = text.lines().filter_map(|line| line.strip_prefix("fanotify sdev:"));
    let number = |line: &str| u32::from_str_radix(line.split(' ').next()?, 16).ok();
    let devices: Option<Vec<u32>> = marks.map(number).collect();
    let devices = devices.ok_or_else(|| io::Error::other("a mark is described in an unknown form"));
    Ok(devices?.into_iter().map(split_device).collect())
}

/// The mount that a descriptor was opened through.
pub fn mount_id(descriptor: impl AsFd) -> io::Result<u64> {
    let text = fdinfo(descriptor, 4096)?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let id = id.and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("fdinfo names no mount"))
}

fn fdinfo(descriptor: impl AsFd, bytes_max: u64) -> io::Result<String> {
    let raw = descriptor.as_fd().as_raw_fd();
    let mut text = String::new();
    let file = File::open(format!("/proc/self/fdinfo/{raw}"))?;
    let count = file.take(bytes_max + 1).read_to_string(&mut text)?;
    match count as u64 > bytes_max {
        true => Err(io::Error::other(format!("more than {bytes_max} bytes of fdinfo"))),
        false => Ok(text),
    }
}

/// Lines of the form `inotify wd:2 ino:9a4925 sdev:fe00000 mask:7c2 ignored_mask:0
/// fhandle-bytes:8 fhandle-type:1 f_handle:25499a00a788d72b`, all numbers in hexadecimal.
fn parse(text: &str) -> Option<Vec<Mark>> {
    text.lines().filter_map(|line| line.strip_prefix("inotify ")).map(parse_mark).collect()
}

fn parse_mark(line: &str) -> Option<Mark> {
    let word = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
    let number = |key: &str| word(key).and_then(|value| u64::from_str_radix(value, 16).ok());
    let device = u32::try_from(number("sdev:")?).ok()?;
    let name = word("f_handle:").and_then(unhex);
    let kind = number("fhandle-type:").and_then(|kind| i32::try_from(kind).ok());
    Some(Mark {
        wd: i32::try_from(number("wd:")?).ok()?,
        inode: number("ino:")?,
        device: split_device(device),
        mask: u32::try_from(number("mask:")?).ok()?,
        handle: kind.zip(name).and_then(|(kind, name)| FileHandle::new(kind, &name)),
    })
}

fn split_device(device: u32) -> (u32, u32) {
    (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// Of the kernel's own device numbers, linux/kdev_t.h.
const MINOR_BITS: u32 = 20;
/// More filesystems than a machine has.
const MARKS_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: &str = "inotify wd:1f ino:9a4925 sdev:fe00001 mask:7c2 ignored_mask:0 \
        fhandle-bytes:8 fhandle-type:1 f_handle:25499a00a788d72b";

    #[test]
    fn a_watch_is_read_as_the_kernel_writes_it() {
        let text = format!("pos:\t0\nflags:\t02004000\nmnt_id:\t16\nino:\t1062\n{EXT4} \n");
        let name = [0x25, 0x49, 0x9a, 0, 0xa7, 0x88, 0xd7, 0x2b];
        let handle = FileHandle::new(1, &name);
        let mark = Mark { wd: 31, inode: 0x9a4925, device: (254, 1), mask: 0x7c2, handle };
        assert_eq!(parse(&text), Some(vec![mark]));
    }

    #[test]
    fn a_watch_without_handle_is_known_as_such() {
        let bare = "inotify wd:1 ino:2 sdev:15 mask:fff ignored_mask:0 ";
        assert_eq!(parse(bare).map(|marks| marks[0].handle.clone()), Some(None));
        let crooked = EXT4.replace("d72b", "d72");
        assert_eq!(parse(&crooked).map(|marks| marks[0].handle.clone()), Some(None));
    }

    #[test]
    fn what_is_not_understood_is_refused_whole() {
        let unknown = EXT4.replace("sdev:fe00001", "sdev:disk");
        assert_eq!(parse(&format!("{EXT4}\n{unknown}")), None);
        assert_eq!(parse("pos:\t0\n"), Some(vec![]));
    }
}
