//! Descriptors that the kernel has just installed for us, or that our parent has left open.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes over a descriptor number that a completion has brought.
pub fn own(raw: RawFd) -> OwnedFd {
    assert!(raw >= 0, "{raw} is no descriptor");
    // SAFETY: io_uring and SCM_RIGHTS speak of new descriptors by number. The callers pass a
    // number that the kernel has just installed for this completion alone, once, so nobody else
    // owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Takes over a descriptor that this process was started with. A program that it starts itself
/// would keep clients open: from now on it is closed on exec.
///
/// # Errors
/// No such descriptor is open.
pub fn inherited(raw: RawFd) -> io::Result<OwnedFd> {
    let descriptor = own(raw);
    fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(descriptor)
}
