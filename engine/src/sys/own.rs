//! Descriptors that the kernel has just installed for us.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes over a descriptor number that a completion has brought.
pub fn own(raw: RawFd) -> OwnedFd {
    assert!(raw >= 0, "{raw} is no descriptor");
    // SAFETY: io_uring and SCM_RIGHTS speak of new descriptors by number. The callers pass a
    // number that the kernel has just installed for this completion alone, once, so nobody else
    // owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}
