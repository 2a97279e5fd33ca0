//! The engine's own ring as something that is handed on: its queues, and the bytes received.
//!
//! It has a single issuer, so nobody can use it when that one is dead. But whoever holds it finds
//! its completions where the kernel has left them, and the bytes that they speak of in the memory
//! beside it: what an engine had received and not yet applied, its heir reads here. What was still
//! armed takes nothing from anybody any more, yet stays, and with it each socket that it waits on,
//! until the last holder closes the ring and the kernel has cleared it away, some 10 ms later.
//! (All of this seen on Linux 6.18.)
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::{io, mem};

use io_uring::{IoUring, Parameters, cqueue};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::limits::Limits;
use crate::ring::{CLIENT_BUFFER_BYTES, Completion, Span};
use crate::token::{Kind, Token};

use super::own::inherited;
use super::setup;
use super::window::Window;

/// A ring that was not used yet, or will not be any more.
pub struct MainRing {
    pub(super) uring: IoUring,
    /// The buffers of the clients, then those of the watch.
    pub(super) received: OwnedFd,
}

impl MainRing {
    /// A new one; whoever enters it first is its one issuer for ever.
    pub fn create(limits: &Limits) -> io::Result<Self> {
        let received = File::from(memfd_create("torpor-received", MFdFlags::MFD_CLOEXEC)?);
        received.set_len(received_bytes(limits) as u64)?;
        Ok(Self { uring: setup::build(limits)?, received: received.into() })
    }

    /// One that an ancestor has created for the same limits, by the numbers that its
    /// [`MainRing::descriptors`] have in this process.
    pub fn inherit(limits: &Limits, [ring, received]: [RawFd; 2]) -> io::Result<Self> {
        // Where the parts of a ring lie is learnt from a twin of the same flags and size.
        let twin = setup::build(limits)?.params().clone();
        let uring = map_ring(inherited(ring)?, twin)?;
        Ok(Self { uring, received: inherited(received)? })
    }

    /// Ring and bytes, for a child process to inherit.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [lent(self, self.uring.as_raw_fd()), self.received.as_fd()]
    }

    /// What its engine was told and had not applied when it was killed: all completions but the
    /// first `applied` of its life, each with the bytes that it brought.
    ///
    /// # Errors
    /// The kernel does not say how far its queue was read, or less far than that.
    pub fn rest(
        &mut self,
        limits: &Limits,
        applied: u32,
    ) -> io::Result<Vec<(Completion, Vec<u8>)>> {
        let read = completions_read(self.uring.as_raw_fd())?;
        let received = Window::new(&self.received, 0, received_bytes(limits))?;
        let mut queue = self.uring.completion();
        // One commit may lie between what was applied and what was read, never more.
        let skipped = applied.wrapping_sub(read) as usize;
        if skipped > queue.len() {
            let why = format!("completions: {applied} applied, {read} read, {} left", queue.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let rest =
            queue.by_ref().skip(skipped).map(|entry| told(&entry, limits, &received)).collect();
        // Dropped, the queue would move on, and who reads this may be killed before he commits.
        mem::forget(queue);
        Ok(rest)
    }
}

/// As [`crate::ring::Ring::reap`] would have brought it, but for descriptors, which have died.
fn told(entry: &cqueue::Entry, limits: &Limits, received: &Window) -> (Completion, Vec<u8>) {
    let token = Token::from_bits(entry.user_data()).expect("only tokens were submitted");
    let more = cqueue::more(entry.flags());
    let mut completion = Completion::plain(token, entry.result(), more);
    let mut bytes = Vec::new();
    let (start, bytes_each) = match token.kind() {
        Kind::ClientRecv => (0, CLIENT_BUFFER_BYTES),
        Kind::Watch => (client_bytes(limits), WATCH_BUFFER_BYTES as usize),
        _ => return (completion, bytes),
    };
    if completion.result > 0 {
        let id = cqueue::buffer_select(entry.flags()).expect("bytes lie in a buffer");
        let at = start + usize::from(id) * bytes_each;
        received.read(at, completion.result as usize, &mut bytes);
        completion.bytes = Span { at: 0, count: bytes.len() as u32 };
    }
    (completion, bytes)
}

/// How many completions have left the ring's queue in all, as procfs has it; wraps.
fn completions_read(ring: RawFd) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{ring}"))?;
    let read = text.lines().find_map(|line| line.strip_prefix("CqHead:")?.trim().parse().ok());
    read.ok_or_else(|| io::Error::other("host: procfs does not say how far a ring was read"))
}

/// Maps a ring that another process has made, by the parameters of a twin.
///
/// # Errors
/// It is no ring, or of another size.
pub(super) fn map_ring(file: OwnedFd, twin: Parameters) -> io::Result<IoUring> {
    let kind = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if kind.as_os_str() != "anon_inode:[io_uring]" {
        let why = format!("a descriptor is {} and no ring", kind.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    // SAFETY: it is a ring, as was just asked, and nobody's but ours. Its twin was built with the
    // same flags and sizes; one of smaller size cannot be mapped in full, and then is an error.
    unsafe { IoUring::from_fd(file.into_raw_fd(), twin) }
}

/// The descriptor of a ring that its holder keeps for as long as it lives.
pub(super) fn lent<T>(_holder: &T, ring: RawFd) -> BorrowedFd<'_> {
    // SAFETY: the crate's ring does not lend its descriptor with a lifetime. It has the same one
    // for as long as it lives, and the callers give the struct that it lives in.
    unsafe { BorrowedFd::borrow_raw(ring) }
}

/// Buffers of clients: a buffer is only taken between a client's bytes and the next reap.
pub(super) fn client_buffers(limits: &Limits) -> u16 {
    limits.slots_max.next_power_of_two().clamp(16, CLIENT_BUFFERS_MAX) as u16
}

/// Bytes of the buffers of clients; those of the watch lie behind them.
pub(super) fn client_bytes(limits: &Limits) -> usize {
    usize::from(client_buffers(limits)) * CLIENT_BUFFER_BYTES
}

/// Bytes of the buffers of both groups.
pub(super) fn received_bytes(limits: &Limits) -> usize {
    client_bytes(limits) + usize::from(WATCH_BUFFERS) * WATCH_BUFFER_BYTES as usize
}

const CLIENT_BUFFERS_MAX: u32 = 4096;
/// Of the inotify instance and the doorbell.
pub(super) const WATCH_BUFFERS: u16 = 16;
pub(super) const WATCH_BUFFER_BYTES: u32 = 4096;

#[cfg(test)]
mod tests {
    use io_uring::opcode;

    use super::*;
    use crate::sys::sqe;

    /// An heir reads, is killed before he commits, and the next one reads the same.
    #[test]
    fn what_is_left_is_there_for_whoever_reads() {
        let limits = Limits { slots_max: 16, dozers_max: 4, ..Limits::default() };
        let mut ring = MainRing::create(&limits).expect("a ring");
        ring.uring.submitter().register_enable_rings().expect("ours");
        let tokens = [1, 2, 3].map(|slot| Token::new(Kind::ClientSend, 7, slot));
        for token in tokens {
            sqe::push(&mut ring.uring, &opcode::Nop::new().build().user_data(token.bits()));
        }
        ring.uring.submit_and_wait(3).expect("done");
        for _ in 0..2 {
            let rest = ring.rest(&limits, 1).expect("two of three");
            let left: Vec<Token> = rest.iter().map(|(done, _)| done.token).collect();
            assert_eq!(left, tokens[1..]);
        }
        assert_eq!(ring.rest(&limits, 3).expect("none").len(), 0);
        ring.rest(&limits, 4).expect_err("more than there ever were");
        ring.uring.completion().for_each(drop);
        ring.rest(&limits, 2).expect_err("less than was read");
    }
}
