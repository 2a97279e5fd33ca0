//! The lobby: descriptors that have arrived and belong to nobody yet.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getpeername, getsockopt, sockopt,
};
use nix::sys::stat::{SFlag, fstat, major, minor};
use slab::Slab;

use crate::ring::{BATCH_MAX, PASSED_MAX, Passed, PassedKind, Peer};

/// Descriptors between their arrival and the core's decision.
pub struct Lobby {
    waiting: Slab<OwnedFd>,
}

impl Lobby {
    /// Room for what one batch can bring.
    pub fn new() -> Self {
        Self { waiting: Slab::with_capacity(BATCH_MAX * PASSED_MAX) }
    }

    /// Takes a descriptor in and asks the kernel what it is.
    pub fn enter(&mut self, descriptor: OwnedFd) -> Passed {
        let fd = descriptor.as_fd();
        let (device, inode, mode) =
            fstat(fd).map_or((0, 0, 0), |stat| (stat.st_dev, stat.st_ino, stat.st_mode));
        let kind = kind(fd, SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()));
        let lobby = self.waiting.insert(descriptor) as u32;
        let (dev_major, dev_minor) = (major(device) as u32, minor(device) as u32);
        Passed { lobby, kind, dev_major, dev_minor, inode }
    }

    /// Takes in what was accepted on our own UNIX socket, of which nothing has to be asked.
    pub fn enter_accepted(&mut self, connection: OwnedFd) -> Passed {
        let lobby = self.waiting.insert(connection) as u32;
        Passed { lobby, kind: PassedKind::Unix, dev_major: 0, dev_minor: 0, inode: 0 }
    }

    /// Gives it to whom the core has chosen.
    pub fn leave(&mut self, passed: Passed) -> OwnedFd {
        let descriptor = self.waiting.try_remove(passed.lobby as usize);
        descriptor.unwrap_or_else(|| panic!("{passed:?} has left the lobby before"))
    }
}

/// Who is at the other end of an accepted connection (SO_PEERCRED, unix(7)).
pub fn peer(connection: &OwnedFd) -> io::Result<Peer> {
    let credentials = getsockopt(connection, sockopt::PeerCredentials)?;
    let (uid, gid) = (credentials.uid(), credentials.gid());
    Ok(Peer { pid: credentials.pid().cast_unsigned(), uid, gid })
}

/// A kernel that gives no answer has given the answer *other*: it will be refused.
fn kind(fd: BorrowedFd, mode: SFlag) -> PassedKind {
    match mode {
        SFlag::S_IFSOCK => socket_kind(fd).unwrap_or(PassedKind::Other),
        SFlag::S_IFIFO if readable(fd) => PassedKind::Pollable,
        // Anonymous inodes have no other type than what procfs calls them.
        mode if mode.is_empty() && has_watch(fd) => PassedKind::Inotify,
        mode if mode.is_empty() => match link(fd).as_deref() {
            Ok("anon_inode:inotify") => PassedKind::Inotify,
            Ok("anon_inode:[eventfd]") => PassedKind::Pollable,
            _ => PassedKind::Other,
        },
        _ => PassedKind::Other,
    }
}

/// Only a connected stream can be a client. A listening one has no peer (ENOTCONN).
fn socket_kind(fd: BorrowedFd) -> nix::Result<PassedKind> {
    if getsockopt(&fd, sockopt::SockType)? != SockType::Stream {
        return Ok(PassedKind::Other);
    }
    let address: SockaddrStorage = getpeername(fd.as_raw_fd())?;
    Ok(match address.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => PassedKind::Tcp,
        Some(AddressFamily::Unix) => PassedKind::Unix,
        _ => PassedKind::Other,
    })
}

fn readable(fd: BorrowedFd) -> bool {
    let flags = fcntl(fd, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
    flags.is_ok_and(|flags| flags & OFlag::O_ACCMODE != OFlag::O_WRONLY)
}

/// True when it is an inotify instance with a watch, as nearly every notify descriptor is. Asked
/// without an allocation, which procfs's name for it would take.
fn has_watch(fd: BorrowedFd) -> bool {
    let mut path = [0; 40];
    let mut rest = &mut path[..];
    write!(rest, "/proc/self/fdinfo/{}", fd.as_raw_fd()).expect("a number has at most ten digits");
    let left = rest.len();
    let path = str::from_utf8(&path[..path.len() - left]).expect("it is ASCII");
    let mut text = [0; FDINFO_BYTES];
    let count = File::open(path).and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    text[..count].windows(WATCH.len()).any(|line| line == WATCH)
}

fn link(fd: BorrowedFd) -> io::Result<String> {
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Longer than what stands before the first watch, whole, so that it is seen in one read.
const FDINFO_BYTES: usize = 512;
/// How a watch begins, proc(5).
const WATCH: &[u8] = b"\ninotify wd:";
