//! The engine is killed at a call of one of its threads, for each call of the scripted life:
//! everybody in it goes to one owner, with every byte, and is told once.
//!
//! A kill before a call finds the one before it done, and of a batch of ring operations as much as
//! the kernel had done. Of `all` calls it is the busiest thread, the engine's, that comes to its
//! Nth first; the calls that are named after it are the handoff thread's. Its watcher is killed in
//! the same way, and nobody notices.

use std::time::Duration;

use crate::ground::Ground;
use crate::strace::Strace;

/// By day a few of the calls, by night all.
#[test]
fn a_kill_at_any_call_loses_nobody() {
    let mut ground = Ground::start("sweep");
    ground.live();
    let is_night = std::env::var_os("TORPOR_NIGHTLY").is_some();
    let (mut open, mut kills) = (None, 0);
    for (call, step_by_day) in CALLS {
        let step = if is_night { 1 } else { step_by_day };
        for nth in (1..NTH_MAX).step_by(step) {
            // One that has run for less would be given a rest.
            std::thread::sleep(Duration::from_millis(1050));
            let pid = ground.pid();
            let strace = Strace::attach(pid, call, "signal=SIGKILL", nth);
            let lived = ground.live();
            let killed = ground.is_gone(pid);
            strace.detach();
            println!("{call} {nth}: killed {killed}, {lived:?}");
            let open = *open.get_or_insert_with(|| ground.descriptors_at_rest());
            ground.settle(open, &format!("killed at {call} {nth}"));
            assert!(killed || nth > 1, "no life has a {call}");
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    println!("{kills} kills, nobody lost");
}

/// By day a few of its calls, by night all.
#[test]
fn a_watcher_killed_at_any_call_is_not_noticed() {
    let mut ground = Ground::start("watcher");
    ground.live();
    let (engine, open) = (ground.pid(), ground.descriptors_at_rest());
    let step = if std::env::var_os("TORPOR_NIGHTLY").is_some() { 1 } else { 4 };
    let mut kills = 0;
    for nth in (1..NTH_MAX).step_by(step) {
        // One that has run for less would be given a rest.
        std::thread::sleep(Duration::from_millis(1050));
        let pid = ground.watcher_pid();
        let strace = Strace::attach(pid, "all", "signal=SIGKILL", nth);
        let lived = ground.live();
        let killed = ground.watcher_pid() != pid;
        strace.detach();
        println!("{nth}: killed {killed}, {lived:?}");
        ground.settle(open, &format!("killed at {nth}"));
        assert_eq!((lived.refused, ground.pid()), (0, engine), "a worker noticed");
        assert!(killed || nth > 1, "a life has no work for a watcher");
        if !killed {
            break;
        }
        kills += 1;
    }
    println!("{kills} watchers killed, nobody noticed");
}

/// Calls, and the step from one to the next by day.
const CALLS: [(&str, usize); 8] = [
    ("all", 7),
    ("io_uring_enter", NONE),
    ("socket", NONE),
    ("connect", NONE),
    ("sendmsg", NONE),
    ("recvmsg", NONE),
    ("recvfrom", NONE),
    ("epoll_wait", NONE),
];
/// Only the first.
const NONE: usize = NTH_MAX as usize;
/// No thread makes so many in a life.
const NTH_MAX: u32 = 1000;
