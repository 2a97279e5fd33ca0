//! Errors of the kernel, one at a time, on every call that the scripted life of a client makes:
//! nobody is lost, nothing is left open, torpor lives.
//!
//! strace puts the error in place of the call. The operations of the ring are no calls; their
//! errors belong to the simulators. Left out as well is what the kernel never does on its own:
//! EAGAIN on a socket that has room or bytes, an errno of a hang-up from a peer that is there (a
//! real hang-up is in `handoff/tests`), an error of `close` that leaves the descriptor open, or of
//! an eventfd whose counter is not full.

mod ground;
mod life;
mod strace;
mod sweep;

use ground::Ground;
use strace::Strace;

/// By day each error at the first such call of each thread, by night at every one.
#[test]
fn passing_errors_lose_nobody() {
    let mut ground = Ground::start("errors");
    for _ in 0..2 {
        ground.live();
    }
    let open = ground.descriptors_at_rest();
    let nth_max = if std::env::var_os("TORPOR_NIGHTLY").is_some() { NTH_MAX } else { 1 };
    let mut never = Vec::new();
    let of_engine = CALLS.iter().map(|call| (false, call));
    let all = of_engine.chain(OF_WATCHER.iter().map(|call| (true, call)));
    for (is_watchers, (call, errnos)) in all {
        let mut calls_hit = 0;
        for errno in errnos.split(' ') {
            for nth in 1..=nth_max {
                let pid = if is_watchers { ground.watcher_pid() } else { ground.pid() };
                let strace = Strace::attach(pid, call, &format!("error={errno}"), nth);
                let lived = ground.live();
                let hits = strace.detach();
                println!("{call} {errno} {nth}: {hits} injected, {lived:?}");
                ground.settle(open, &format!("{call} = {errno} at {nth}"));
                calls_hit += hits;
                if hits == 0 {
                    break;
                }
            }
        }
        if calls_hit == 0 {
            never.push(*call);
        }
    }
    assert_eq!(never, [""; 0], "calls that no life makes");
}

/// Calls of the threads that hold a client, with the errors that their manual pages name.
const CALLS: &[(&str, &str)] = &[
    // The ring.
    ("io_uring_enter", "EINTR EAGAIN EBUSY"),
    // The vault, and the number that all items of the epoll set have.
    ("io_uring_register", "EINTR EAGAIN ENOMEM"),
    ("dup3", "EINTR EBUSY"),
    // A descriptor arrives, and is asked what it is.
    ("newfstatat", "ENOMEM"),
    ("getsockopt", "ENOBUFS ENOMEM"),
    ("getpeername", "ENOBUFS ENOTCONN"),
    ("openat", "ENOMEM EMFILE"),
    // The handoff thread; the second on the way into the epoll set of the sleepers, too.
    ("epoll_wait", "EINTR"),
    ("epoll_ctl", "ENOMEM ENOSPC"),
    ("socket", "EMFILE ENFILE ENOBUFS ENOMEM"),
    ("setsockopt", "ENOPROTOOPT ENOMEM"),
    ("connect", "EAGAIN ECONNREFUSED ENOENT EACCES EINTR"),
    ("sendto", "EINTR ENOBUFS ENOMEM"),
    ("sendmsg", "EINTR ENOBUFS ENOMEM ETOOMANYREFS EMFILE"),
    ("recvmsg", "EINTR ENOBUFS ENOMEM"),
    ("recvfrom", "EINTR ENOBUFS ENOMEM"),
];

/// Those of the watcher, which has a copy of a descriptor that its client's engine has, too.
const OF_WATCHER: &[(&str, &str)] = &[
    ("openat", "EMFILE ENFILE ENOMEM EACCES EINTR"),
    ("open_by_handle_at", "ESTALE ENOMEM EPERM EMFILE"),
    ("inotify_add_watch", "ENOSPC ENOMEM EACCES"),
    ("inotify_rm_watch", "EINVAL"),
    ("recvmsg", "EINTR ENOBUFS ENOMEM"),
    ("sendto", "EINTR ENOBUFS ENOMEM"),
];

/// No life makes a call so often in one thread.
const NTH_MAX: u32 = 60;
