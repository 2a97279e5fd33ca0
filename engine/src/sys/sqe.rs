//! Submission entries, and the two settings that the crate has no names for.
#![allow(unsafe_code)]

use std::mem::transmute;
use std::os::fd::RawFd;

use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

use crate::ring::{CLIENT_BUFFER_BYTES, CLIENT_RECV_BYTES};

/// Queues an entry; the caller has seen that there is room.
pub fn push(ring: &mut IoUring, entry: &Entry) {
    // SAFETY: the crate cannot know how long the memory lives that an entry names. Entries are
    // only made in this folder and name memory of `Memory` alone, which lives at a fixed address
    // until nothing is in flight any more.
    let pushed = unsafe { ring.submission().push(entry) };
    assert!(pushed.is_ok(), "the submission queue had room");
}

/// Receives into one provided buffer of a group, or (multishot) into one after the other, but
/// never more than [`CLIENT_RECV_BYTES`] rounded up to whole buffers: one flooder cannot take the
/// pool from everybody else. POLL_FIRST: an idle socket is not even tried.
pub fn receive(client: RawFd, group: u16, multishot: bool) -> Entry {
    let entry = opcode::RecvMulti::new(Fd(client), group).len(CLIENT_BUFFER_BYTES as u32).build();
    let (flags, limit) = match multishot {
        true => (RECV_MULTISHOT | RECVSEND_POLL_FIRST, CLIENT_RECV_BYTES as u32),
        false => (RECVSEND_POLL_FIRST, 0),
    };
    let patched = |mut image: [u8; 64]| {
        image[IOPRIO..IOPRIO + 2].copy_from_slice(&flags.to_ne_bytes());
        image[OPTLEN..OPTLEN + 4].copy_from_slice(&limit.to_ne_bytes());
        image
    };
    // SAFETY: the crate has no setter for these two. `Entry` is repr(C) around struct
    // io_uring_sqe, 64 bytes of plain integers for which every pattern is valid; transmute
    // checks the size.
    unsafe { transmute::<[u8; 64], Entry>(patched(transmute::<Entry, [u8; 64]>(entry))) }
}

/// Offset of `ioprio` in struct io_uring_sqe.
const IOPRIO: usize = 2;
/// Offset of `optlen`, the limit of bytes per multishot receive since Linux 6.17.
const OPTLEN: usize = 44;
/// linux/io_uring.h.
const RECVSEND_POLL_FIRST: u16 = 1;
const RECV_MULTISHOT: u16 = 2;
