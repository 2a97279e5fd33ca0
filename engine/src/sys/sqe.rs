//! Submission entries, and the one flag that the crate has no name for.
#![allow(unsafe_code)]

use std::mem::transmute;
use std::os::fd::RawFd;
use std::ptr;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

use crate::ring::CLIENT_BUFFER_BYTES;

/// Queues an entry; the caller has seen that there is room.
pub fn push(ring: &mut IoUring, entry: &Entry) {
    // SAFETY: the crate cannot know how long the memory lives that an entry names. Entries are
    // only made in this folder and name memory of `Memory` alone, which lives at a fixed address
    // until nothing is in flight any more.
    let pushed = unsafe { ring.submission().push(entry) };
    assert!(pushed.is_ok(), "the submission queue had room");
}

/// Receives once, into one provided buffer: a flooder gets no more than that, and the end that
/// may lie behind the bytes is found by the next arm. (A multishot arm that finds both at once
/// never tells of the end on Linux 6.18, be it an EOF of AF_UNIX or a reset of TCP.) POLL_FIRST:
/// an idle socket is not even tried, and an empty pool is no error before bytes come.
pub fn receive(client: RawFd, group: u16) -> Entry {
    let recv = opcode::Recv::new(Fd(client), ptr::null_mut(), CLIENT_BUFFER_BYTES as u32);
    let entry = recv.buf_group(group).build().flags(Flags::BUFFER_SELECT);
    let patched = |mut image: [u8; 64]| {
        image[IOPRIO..IOPRIO + 2].copy_from_slice(&RECVSEND_POLL_FIRST.to_ne_bytes());
        image
    };
    // SAFETY: the crate has no setter for this flag. `Entry` is repr(C) around struct
    // io_uring_sqe, 64 bytes of plain integers for which every pattern is valid; transmute
    // checks the size.
    unsafe { transmute::<[u8; 64], Entry>(patched(transmute::<Entry, [u8; 64]>(entry))) }
}

/// Offset of `ioprio` in struct io_uring_sqe.
const IOPRIO: usize = 2;
/// linux/io_uring.h.
const RECVSEND_POLL_FIRST: u16 = 1;
