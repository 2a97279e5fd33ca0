//! Filesystems that other hosts write to, of whose changes this kernel tells nothing.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::sys::stat::{FileStat, stat};
use nix::sys::statfs::{
    AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC,
    OCFS2_SUPER_MAGIC, SMB_SUPER_MAGIC, fstatfs,
};

/// Those that are known by their kind, and those that the operator has named.
pub struct Remote {
    devices: Vec<u64>,
}

impl Remote {
    /// `folders` lie on filesystems that others write to, whatever their kind.
    pub fn new(folders: &[PathBuf]) -> io::Result<Self> {
        let device = |folder: &PathBuf| Ok(stat(folder)?.st_dev);
        Ok(Self { devices: folders.iter().map(device).collect::<io::Result<_>>()? })
    }

    /// True when others may change this.
    pub fn holds(&self, inode: impl AsFd, stat: &FileStat) -> io::Result<bool> {
        Ok(self.devices.contains(&stat.st_dev) || is_remote(inode)?)
    }
}

/// True for what lies on a filesystem of a known kind.
pub fn is_remote(inode: impl AsFd) -> io::Result<bool> {
    let kind = fstatfs(inode)?.filesystem_type();
    Ok(KNOWN.contains(&kind))
}

/// By their magic numbers (statfs(2)); those without a name are of the kernel's own sources.
const KNOWN: [FsType; 14] = [
    AFS_SUPER_MAGIC,
    CODA_SUPER_MAGIC,
    FUSE_SUPER_MAGIC,
    NFS_SUPER_MAGIC,
    OCFS2_SUPER_MAGIC,
    SMB_SUPER_MAGIC,
    // fs/afs, whose mounts are not those of AFS_SUPER_MAGIC.
    FsType(0x6B41_4653),
    // 9p.
    FsType(0x0102_1997),
    // Ceph.
    FsType(0x00C3_6400),
    // cifs, with SMB 1 and later.
    FsType(0xFF53_4D42),
    FsType(0xFE53_4D42),
    // GFS2.
    FsType(0x0116_1970),
    // Lustre.
    FsType(0x0BD0_0BD0),
    // OrangeFS.
    FsType(0x2003_0528),
];
