//! Workers that outlived their front: our children since, as we are their subreaper.
//!
//! They go on serving their clients. Nobody waits for them by name, so this looks at all children
//! but those that somebody else looks after.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Pids of our children but `others`, those among them that have ended and were not reaped.
pub fn list(others: &[u32]) -> Vec<u32> {
    let mut found = Vec::new();
    // A kernel without this file has no list to give; then nobody is told or waited for.
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found.retain(|pid| !others.contains(pid));
    found
}

/// Takes note of those that have ended.
pub fn reap(others: &[u32]) {
    for pid in list(others) {
        match waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG)) {
            Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => {}
            Err(errno) => tracing::error!("worker {pid} cannot be waited for: {errno}"),
        }
    }
}

/// Sends a signal to each.
pub fn signal(others: &[u32], signal: Signal) {
    for pid in list(others) {
        // It stays our child, and the pid its own, until `reap`.
        let _ = kill(Pid::from_raw(pid as i32), signal);
    }
}
