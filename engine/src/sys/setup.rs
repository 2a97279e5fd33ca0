//! Making a ring, and finding out by trial what this kernel's rings can do.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::limits::Limits;

/// What not every supported kernel has. Without it the ring arms one operation after the other
/// instead of one for all; what comes out is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Multishot read (Linux 6.7).
    pub read_multishot: bool,
    /// Looking at an epoll set (Linux 6.15).
    pub epoll_wait: bool,
}

impl Abilities {
    /// Asks the kernel.
    pub fn look() -> io::Result<Self> {
        let ring = IoUring::new(8).map_err(named)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        Ok(Self {
            read_multishot: probe.is_supported(opcode::ReadMulti::CODE),
            epoll_wait: probe.is_supported(opcode::EpollWait::CODE),
        })
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

/// Beyond the kernel's maximum, which only very many connections or sends at once ask for, the
/// queue may overflow. That ends the lasting operations but loses nothing: they are armed again.
fn completions_max(limits: &Limits) -> u32 {
    limits.completions().clamp(SUBMISSIONS * 2, COMPLETIONS_MAX)
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

/// Everything that the ring submits; those in [`Abilities`] have a way without.
const OPERATIONS: [(u8, &str); 7] = [
    (opcode::AcceptMulti::CODE, "accept"),
    (opcode::AsyncCancel::CODE, "cancel"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::Read::CODE, "read"),
    (opcode::Recv::CODE, "recv"),
    (opcode::RecvMsg::CODE, "recvmsg"),
    (opcode::Send::CODE, "send"),
];
/// Entries of the submission queue; a longer step submits in between.
pub const SUBMISSIONS: u32 = 1024;
/// IORING_MAX_CQ_ENTRIES.
const COMPLETIONS_MAX: u32 = 65_536;
