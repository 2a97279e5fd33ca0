//! The call of the watcher that nobody wraps.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::own::own;

/// Opens the inode that a file handle names on the filesystem of `mount`, O_PATH, as
/// open_by_handle_at(2). EPERM: no CAP_DAC_READ_SEARCH; ESTALE: the inode is gone.
pub fn open_by_handle(mount: BorrowedFd, handle: &FileHandle) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let image = std::ptr::from_ref(handle).cast_mut().cast();
    // SAFETY: nix has no open_by_handle_at. `FileHandle` has the layout of struct file_handle
    // (asserted below), its byte count is at most the room behind it, and the kernel only reads.
    let raw = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), image, flags) };
    if raw < 0 { Err(io::Error::last_os_error()) } else { Ok(own(raw)) }
}

/// An inode's name on its filesystem: struct file_handle with room for the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileHandle {
    bytes: u32,
    kind: i32,
    name: [u8; HANDLE_BYTES_MAX],
}

impl FileHandle {
    /// `None` when the name is empty or longer than the kernel's limit.
    pub fn new(kind: i32, name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > HANDLE_BYTES_MAX {
            return None;
        }
        let mut room = [0; HANDLE_BYTES_MAX];
        room[..name.len()].copy_from_slice(name);
        Some(Self { bytes: name.len() as u32, kind, name: room })
    }

    /// The form of the name, which the filesystem knows.
    pub fn kind(&self) -> i32 {
        self.kind
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name[..self.bytes as usize]
    }
}

/// MAX_HANDLE_SZ of linux/exportfs.h.
const HANDLE_BYTES_MAX: usize = 128;

const _: () = assert!(std::mem::offset_of!(FileHandle, name) == size_of::<libc::file_handle>());
const _: () = assert!(align_of::<FileHandle>() >= align_of::<libc::file_handle>());
