//! What an engine and a watcher may ask the kernel for, once they serve.
//!
//! Hostile bytes are read in an engine, and a watcher may open any file, so two filters are laid
//! over all threads of both (seccomp(2)). What no honest one ever does, like executing a program
//! or looking into another process, ends it at once: the keeper logs the signal, SIGSYS. Everything
//! else that it has no use for does not exist (ENOSYS), as on an older kernel: a C library that
//! tries something new falls back to what is old, and code of ours that nobody has foreseen logs an
//! error instead of losing a client.
//!
//! Operations of a ring are no calls and pass; what it can do to files, its user cannot do either.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// Lays the filters over all threads, those to come included; `own` is what not both of them may.
///
/// # Errors
/// The kernel has none, or not on this processor.
pub fn confine(own: &[c_long]) -> io::Result<()> {
    let allowed = everything(ALLOWED.iter().chain(&ALLOWED_OF_OLD).chain(own));
    let mut forbidden = everything(FORBIDDEN.iter());
    // A thread is welcome, a process is not. (clone3 hides its flags, and does not exist.)
    let is_process = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64),
        0,
    );
    let rule = SeccompRule::new(vec![is_process.map_err(io::Error::other)?]);
    forbidden.insert(libc::SYS_clone, vec![rule.map_err(io::Error::other)?]);
    let nothing = SeccompAction::Errno(libc::ENOSYS as u32);
    apply(forbidden, SeccompAction::Allow, SeccompAction::KillProcess)?;
    apply(allowed, nothing, SeccompAction::Allow)
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Whatever their arguments are.
fn everything<'a>(calls: impl Iterator<Item = &'a c_long>) -> Rules {
    calls.map(|call| (*call, Vec::new())).collect()
}

fn apply(rules: Rules, others: SeccompAction, these: SeccompAction) -> io::Result<()> {
    let arch = ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, others, these, arch).map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)
}

/// Programs, other processes, other namespaces, the kernel itself, and who we are.
const FORBIDDEN: [c_long; 35] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_capset,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setns,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setuid,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// What the strace of both under all tests shows, and what the same calls are named in other C
/// libraries.
const ALLOWED: [c_long; 57] = [
    // Waiting.
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    // Sockets and descriptors.
    libc::SYS_getsockopt,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fcntl,
    // Files.
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads and signals; PR_SET_NAME.
    libc::SYS_clone,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_uname,
];

/// Rings and items, sockets of its own, files of the cold store and of metrics and control.
pub const OF_ENGINE: [c_long; 40] = [
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pidfd_open,
    libc::SYS_ioctl,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_pwrite64,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_readlinkat,
    libc::SYS_memfd_create,
    libc::SYS_pipe2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
];

/// Mailboxes.
pub const OF_WATCHER: [c_long; 5] = [
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_open_by_handle_at,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
];

/// Names that newer processors never had.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OF_OLD: [c_long; 12] = [
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OF_OLD: [c_long; 0] = [];

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, ExitStatus};

    use super::*;

    /// This test again, in a process of its own that is confined.
    fn again(test: &str) -> Option<ExitStatus> {
        if std::env::var_os(CONFINED).is_some() {
            confine(&OF_ENGINE).expect("a kernel with seccomp");
            return None;
        }
        let this = std::env::current_exe().expect("the tests");
        let name = format!("engine::seccomp::tests::{test}");
        let mut command = Command::new(this);
        Some(command.args(["--exact", &name]).env(CONFINED, "1").status().expect("it runs"))
    }

    #[test]
    fn a_program_is_never_executed() {
        let Some(status) = again("a_program_is_never_executed") else {
            let _ = Command::new("true").status();
            return;
        };
        assert_eq!(status.signal(), Some(libc::SIGSYS));
    }

    #[test]
    fn threads_go_on_and_strange_calls_do_not_exist() {
        let Some(status) = again("threads_go_on_and_strange_calls_do_not_exist") else {
            std::thread::spawn(|| std::fs::read("/proc/self/status").expect("files are read"))
                .join()
                .expect("threads are started");
            let cpu = nix::sched::CpuSet::new();
            let refused = nix::sched::sched_setaffinity(nix::unistd::Pid::this(), &cpu);
            assert_eq!(refused, Err(nix::errno::Errno::ENOSYS));
            return;
        };
        assert!(status.success(), "{status}");
    }

    const CONFINED: &str = "TORPOR_TEST_CONFINED";
}
