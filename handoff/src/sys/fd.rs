//! Descriptors that travel over AF_UNIX sockets.
#![allow(unsafe_code)]
//!
//! Control buffers are read by our own few lines: nix gives up on MSG_CTRUNC and leaks what did
//! arrive, and knows no SCM_PIDFD. Every received number becomes an `OwnedFd` at once, so whatever
//! happens next, it is closed once.

use std::io::IoSlice;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg, setsockopt};
use nix::sys::time::TimeVal;

/// At most this many descriptors are kept of one read; the protocols need one at a time.
pub const FDS_MAX: usize = 4;

/// Control bytes that a read should have room for: four descriptors, a pidfd, credentials.
pub const CONTROL_BYTES: usize = 96;

/// What one read brought.
#[derive(Debug)]
pub struct Received {
    /// 0 = EOF.
    pub count: usize,
    pub passed: Passed,
    /// The kernel had no room, or no free number, for everything that was sent.
    pub truncated: bool,
}

/// Descriptors out of one control buffer.
#[derive(Debug, Default)]
pub struct Passed {
    /// In the order in which they were sent; filled from the front.
    pub fds: [Option<OwnedFd>; FDS_MAX],
    /// The sender's process, if the socket has SO_PASSPIDFD.
    pub pidfd: Option<OwnedFd>,
    /// Descriptors beyond `FDS_MAX`; they are closed already.
    pub surplus: u32,
}

/// Sends `bytes`, with `fd` on the first of them. Never blocks, never raises SIGPIPE. A failure
/// means that nothing went out; a short count means that the descriptor did.
pub fn send_with_fd(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fd: BorrowedFd<'_>,
) -> nix::Result<usize> {
    send_with_fds(socket, bytes, &[fd])
}

/// The same with several, in their order; at most `FDS_MAX` are taken on the other side.
pub fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> nix::Result<usize> {
    assert!(!bytes.is_empty() && !fds.is_empty(), "descriptors ride on a byte");
    assert!(fds.len() <= FDS_MAX, "more than anybody takes");
    let mut numbers = [0; FDS_MAX];
    for (number, fd) in numbers.iter_mut().zip(fds) {
        *number = fd.as_raw_fd();
    }
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let rights = [ControlMessage::ScmRights(&numbers[..fds.len()])];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None)
}

/// Reads once, with whatever descriptors ride on it. Never blocks.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<Received> {
    assert!(!buffer.is_empty());
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: needed because no safe wrapper gives the raw control bytes. A zeroed msghdr is a
    // valid empty one; both pointers it gets are to live buffers of the lengths it gets, which
    // nothing else touches during the call.
    let (count, header) = unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len();
        (libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags), header)
    };
    let count = usize::try_from(Errno::result(count)?).expect("a result is not negative");
    assert!(count <= buffer.len() && header.msg_controllen <= CONTROL_BYTES);
    // SAFETY: these are the bytes that the call above has just written, and they are read once.
    let passed = unsafe { Passed::adopt(&control.0[..header.msg_controllen]) };
    Ok(Received { count, passed, truncated: header.msg_flags & libc::MSG_CTRUNC != 0 })
}

impl Passed {
    /// Takes ownership of every descriptor that a control buffer names.
    ///
    /// # Safety
    /// `control` is what the kernel wrote for one receive, and is given here once: each number in
    /// it is open and nobody else's.
    pub unsafe fn adopt(control: &[u8]) -> Self {
        let mut passed = Self::default();
        for message in parse_control(control) {
            let is_pidfd = message.is_pidfd();
            for number in message.fds() {
                // SAFETY: needed because a number is all that the kernel gives; by the contract
                // above it is open and has no other owner.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                match passed.fds.iter_mut().find(|place| place.is_none()) {
                    _ if is_pidfd => passed.pidfd = Some(fd),
                    Some(place) => *place = Some(fd),
                    None => passed.surplus += 1,
                }
            }
        }
        passed
    }

    /// How many descriptors came, the pidfd aside.
    pub fn count(&self) -> u32 {
        let kept = self.fds.iter().flatten().count();
        u32::try_from(kept).expect("at most FDS_MAX") + self.surplus
    }
}

/// One message of a control buffer, as the kernel wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawControl<'a> {
    pub level: i32,
    pub kind: i32,
    pub data: &'a [u8],
}

impl RawControl<'_> {
    /// True for the pidfd of the sender.
    pub fn is_pidfd(&self) -> bool {
        self.level == libc::SOL_SOCKET && self.kind == SCM_PIDFD
    }

    /// The descriptor numbers that this message brings. Numbers only: who owns them is another
    /// question.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        let has_fds = self.level == libc::SOL_SOCKET
            && (self.kind == libc::SCM_RIGHTS || self.kind == SCM_PIDFD);
        let data = if has_fds { self.data } else { &[] };
        let numbers = data.chunks_exact(size_of::<RawFd>());
        numbers
            .map(|bytes| RawFd::from_ne_bytes(bytes.try_into().expect("chunks of four")))
            // A pidfd that the kernel could not make comes as a negative number.
            .filter(|number| *number >= 0)
    }
}

/// The messages of a control buffer. Ends at the first header that does not fit; never panics.
pub fn parse_control(control: &[u8]) -> impl Iterator<Item = RawControl<'_>> {
    let mut rest = control;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_at_checked(HEADER_BYTES)?;
        let (length, kinds) = header.split_at(size_of::<usize>());
        let length = usize::from_ne_bytes(length.try_into().ok()?);
        let (level, kind) = kinds.split_at(4);
        let message = RawControl {
            level: i32::from_ne_bytes(level.try_into().ok()?),
            kind: i32::from_ne_bytes(kind[..4].try_into().ok()?),
            data: rest.get(HEADER_BYTES..length)?,
        };
        let next = length.checked_next_multiple_of(size_of::<usize>())?;
        rest = rest.get(next..).unwrap_or_default();
        Some(message)
    })
}

/// Asks the kernel to tell who sends: the first bytes of a peer come with its pidfd, if this is
/// set before connect. ENOPROTOOPT on kernels before 6.5.
pub fn set_passpidfd(socket: BorrowedFd<'_>) -> nix::Result<()> {
    set_option(socket, SO_PASSPIDFD, 1)
}

/// From now on a read with MSG_PEEK goes on where the last one has ended, and the first one begins
/// with what has been waiting longest. AF_UNIX streams have this since Linux 3.4.
pub fn peek_from_start(socket: BorrowedFd<'_>) -> nix::Result<()> {
    set_option(socket, libc::SO_PEEK_OFF, 0)
}

/// Marks a socket with a number that whoever holds it can read. It lies in the send timeout, in
/// seconds, which means nothing to a socket that is never waited on.
pub fn mark(socket: BorrowedFd<'_>, number: u32) -> nix::Result<()> {
    setsockopt(&socket, SendTimeout, &TimeVal::new(number.into(), 0))
}

/// The mark of a socket; 0 is that of one that was never marked.
pub fn mark_of(socket: BorrowedFd<'_>) -> u32 {
    let mark = getsockopt(&socket, SendTimeout).map_or(0, |timeout| timeout.tv_sec());
    u32::try_from(mark).unwrap_or(0)
}

fn set_option(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> nix::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four");
    // SAFETY: needed because nix does not name these options. The pointer is to a live int of the
    // length given, which the kernel only reads.
    let result = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length)
    };
    Errno::result(result).map(drop)
}

#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const SCM_PIDFD: libc::c_int = 4;
const SO_PASSPIDFD: libc::c_int = 76;

#[cfg(test)]
mod tests;
