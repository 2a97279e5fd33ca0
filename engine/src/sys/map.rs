//! Memory of a fixed size that outlives its process as long as somebody holds its file.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions, remove_file};
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use memmap2::{MmapMut, MmapOptions};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
#[cfg(any(test, feature = "planted"))]
use nix::unistd::{Whence, lseek};

/// Zeroed bytes at a page's border. Pages that were never written cost address space only, and
/// nothing is set aside for them (MAP_NORESERVE).
pub struct Map {
    image: MmapMut,
    file: File,
}

impl Map {
    /// In memory (memfd); `name` is for /proc/PID/maps.
    pub fn memory(name: &str, bytes: usize) -> io::Result<Self> {
        if cfg!(miri) {
            // Which knows no memfd: memory that no other process can hold.
            return Ok(Self { image: MmapMut::map_anon(bytes)?, file: File::open("/dev/null")? });
        }
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(name, flags)?);
        file.set_len(bytes as u64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Self::over(file, bytes)
    }

    /// In a file, which loses its name at once: nobody can cut it short, and none is left behind.
    pub fn file(path: &Path, bytes: usize) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        remove_file(path)?;
        file.set_len(bytes as u64)?;
        Self::over(file, bytes)
    }

    /// What another process of ours has made, in all its length.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let file = File::from(descriptor);
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        if bytes == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "host: empty memory handed over",
            ));
        }
        Self::over(file, bytes)
    }

    /// Zeroes them, and has the memory of whole pages among them back where the filesystem can
    /// (PUNCH_HOLE; tmpfs since Linux 3.5, ext4 since 3.0).
    pub fn release(&mut self, bytes: Range<usize>) {
        let from = bytes.start.next_multiple_of(PAGE_BYTES).min(bytes.end);
        let to = (bytes.end / PAGE_BYTES * PAGE_BYTES).max(from);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let is_hole = from < to
            && !cfg!(miri)
            && fallocate(&self.file, flags, from as i64, (to - from) as i64).is_ok();
        let hole = if is_hole { from..to } else { from..from };
        self.image[bytes.start..hole.start].fill(0);
        self.image[hole.end..bytes.end].fill(0);
    }

    /// A descriptor for a process that holds the memory for our heir and never looks into it.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    fn over(file: File, bytes: usize) -> io::Result<Self> {
        assert!(bytes > 0, "nobody needs no memory");
        let mut options = MmapOptions::new();
        options.len(bytes).no_reserve_swap();
        // SAFETY: a mapped file must not shrink nor change behind our back. This one has no name,
        // a memfd is sealed besides, and its descriptor goes to nobody but who holds it for us.
        let image = unsafe { options.map_mut(&file) }?;
        Ok(Self { image, file })
    }

    /// Where bytes are there, on disk or in memory. All else is zero.
    #[cfg(any(test, feature = "planted"))]
    pub fn written(&self) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        core::iter::from_fn(move || {
            // ENXIO: nothing is there from here on.
            let from = lseek(&self.file, at, Whence::SeekData).ok()?;
            at = lseek(&self.file, from, Whence::SeekHole).expect("the end is a hole");
            Some(from as usize..at as usize)
        })
    }

    /// Bytes that are there, on disk or in memory.
    pub fn stored_bytes(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(self.file.metadata()?.blocks() * 512)
    }
}

impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.image
    }
}

impl DerefMut for Map {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.image
    }
}

pub const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_zero_and_not_there() {
        let mut map = Map::memory("test", 8 * PAGE_BYTES).expect("a memfd");
        for (bytes, left) in [(10..20, 8), (4000..4200, 8), (4000..20_000, 5), (0..8 * 4096, 0)] {
            map.fill(7);
            map.release(bytes.clone());
            let is_zero = |at: usize| map[at] == 0;
            let (stored, pages) = (map.stored_bytes().expect("its size"), left * 4096);
            assert_eq!(stored, pages, "{bytes:?}");
            assert!(bytes.clone().all(is_zero), "{bytes:?}");
            assert!((0..map.len()).all(|at| bytes.contains(&at) || map[at] == 7), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_never_written_is_not_there() {
        let mut map = Map::memory("test", 1 << 30).expect("a memfd");
        assert_eq!((map.len(), map.stored_bytes().expect("its size")), (1 << 30, 0));
        map[4096] = 7;
        map[(1 << 30) - 1] = 7;
        assert_eq!(map.stored_bytes().expect("its size"), 2 * 4096);
        let written: Vec<_> = map.written().collect();
        assert_eq!(written, [4096..8192, (1 << 30) - 4096..1 << 30]);
    }

    #[test]
    fn a_file_has_no_name_once_it_is_mapped() {
        let folder = std::env::temp_dir().join(format!("torpor-map-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder");
        let mut map = Map::file(&folder.join("cold"), 1 << 20).expect("a file");
        map[5] = 9;
        assert_eq!(map[5], 9);
        std::fs::remove_dir(&folder).expect("the folder is empty");
    }
}
