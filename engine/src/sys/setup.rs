//! Making a ring, and finding out by trial what this kernel's rings can do.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, Probe, cqueue, opcode};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};

use crate::limits::Limits;
use crate::ring::{CLIENT_BUFFER_BYTES, CLIENT_RECV_BYTES};

use super::buffers::Buffers;
use super::sqe;

/// What not every supported kernel has. Without them the ring arms one operation after the other
/// instead of one for all; what comes out is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Multishot recv obeys a limit of bytes per arm (Linux 6.17).
    pub receive_limit: bool,
    /// Multishot read (Linux 6.7).
    pub read_multishot: bool,
}

impl Abilities {
    /// Asks the kernel.
    pub fn look() -> io::Result<Self> {
        let ring = IoUring::new(8).map_err(named)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let read_multishot = probe.is_supported(opcode::ReadMulti::CODE);
        Ok(Self { receive_limit: obeys_limit(ring)?, read_multishot })
    }
}

/// Makes a ring of the size that these limits need, once, and lists the operations that the
/// kernel does not have.
pub fn trial(limits: &Limits) -> io::Result<Vec<&'static str>> {
    let ring = build(limits)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let missing = OPERATIONS.iter().filter(|(code, _)| !probe.is_supported(*code));
    Ok(missing.map(|(_, name)| *name).collect())
}

/// The engine's own ring: one issuer, who may be another thread than the maker (the first to
/// enter), and completions only when asked for.
pub fn build(limits: &Limits) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_r_disabled();
    builder.setup_submit_all().setup_clamp().setup_cqsize(completions_max(limits));
    let plain = builder.clone();
    // The indirection array is only unnecessary since Linux 6.6.
    match builder.setup_no_sqarray().build(SUBMISSIONS) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => plain.build(SUBMISSIONS),
        result => result,
    }
    .map_err(named)
}

/// Completions that may wait at once: of each client a last piece and the end of its arm, or a
/// send; of each connection a receive and a send; the rest is constant. Beyond the kernel's
/// maximum the queue may overflow, which ends arms but loses nothing: they are armed again.
fn completions_max(limits: &Limits) -> u32 {
    let clients = limits.slots_max.saturating_mul(ARM_COMPLETIONS);
    let others = limits.sends_in_flight_max + limits.conns_max * 4 + 256;
    clients.saturating_add(others).clamp(SUBMISSIONS * 2, COMPLETIONS_MAX)
}

/// Twice the bytes of the limit lie ready: the arm must bring them in whole buffers up to the
/// limit and end. An older kernel refuses the field.
fn obeys_limit(mut ring: IoUring) -> io::Result<bool> {
    let buffers = Buffers::new(0, 4, CLIENT_BUFFER_BYTES);
    buffers.register(&ring.submitter())?;
    let (near, far) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    send(far.as_raw_fd(), &[b'x'; CLIENT_RECV_BYTES * 2], MsgFlags::MSG_DONTWAIT)?;
    sqe::push(&mut ring, &sqe::receive(near.as_raw_fd(), 0, true));
    ring.submit_and_wait(1)?;
    let first = ring.completion().next().map(|entry| (entry.result(), entry.flags()));
    let (result, flags) = first.ok_or(io::ErrorKind::TimedOut)?;
    let ended = !cqueue::more(flags);
    if !ended {
        // The ring and with it the arm end here; the buffers must not end before.
        std::mem::forget(buffers);
    }
    Ok(result > 0 && ended)
}

/// io_uring_setup(2) refuses for few reasons, and each has a remedy.
pub fn named(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "host: io_uring is forbidden: set kernel.io_uring_disabled = 0, or allow \
             io_uring_setup, io_uring_enter and io_uring_register in the seccomp filter"
        }
        Some(libc::ENOSYS) => "host: this kernel has no io_uring; Linux 6.1 or later is needed",
        Some(libc::EINVAL) => "host: this kernel's io_uring is too old; Linux 6.1 is needed",
        Some(libc::ENOMEM) => "host: no memory for the ring; raise RLIMIT_MEMLOCK or memory.max",
        Some(libc::EMFILE) => "host: no descriptor left for the ring; raise RLIMIT_NOFILE",
        _ => "host: io_uring_setup failed",
    };
    io::Error::new(error.kind(), format!("{why} ({error})"))
}

/// Everything that the ring submits; a multishot read has a way without.
const OPERATIONS: [(u8, &str); 7] = [
    (opcode::AcceptMulti::CODE, "accept"),
    (opcode::AsyncCancel::CODE, "cancel"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::Read::CODE, "read"),
    (opcode::RecvMulti::CODE, "recv"),
    (opcode::RecvMsg::CODE, "recvmsg"),
    (opcode::Send::CODE, "send"),
];
/// Entries of the submission queue; a longer step submits in between.
const SUBMISSIONS: u32 = 1024;
/// IORING_MAX_CQ_ENTRIES.
const COMPLETIONS_MAX: u32 = 65_536;
/// A client's line and its end, between two looks of the engine.
const ARM_COMPLETIONS: u32 = 2;
