//! What /proc says of processes beside their own memory, and of the whole machine.

use std::io;

/// Page tables and kernel stacks of these processes together, in bytes.
///
/// # Errors
/// /proc has no such figure.
pub fn table_bytes(pids: &[i32]) -> io::Result<u64> {
    sum(pids, |pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let threads = text.lines().find_map(|line| line.strip_prefix("Threads:"))?;
        let stacks = threads.trim().parse::<u64>().ok()? * STACK_BYTES;
        Some(kib(&text, "VmPTE:").map(|kib| kib * 1024 + stacks))
    })
}

/// Descriptors that these processes have open together.
pub fn descriptors(pids: &[i32]) -> u64 {
    let count = |pid: &i32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    pids.iter().map(count).sum::<usize>() as u64
}

/// Time that all threads of these processes have had a processor since they began, in
/// microseconds.
pub fn cpu_us(pids: &[i32]) -> f64 {
    let mut nanoseconds = 0.0;
    for pid in pids {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
            nanoseconds += first.unwrap_or(0.0);
        }
    }
    nanoseconds / 1000.0
}

/// Memory of the whole machine that is neither free nor a copy of what lies on a disk, in bytes.
///
/// # Errors
/// /proc has no such figure.
pub fn used_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let [total, free, buffers, cached, shared] =
        ["MemTotal:", "MemFree:", "Buffers:", "Cached:", "Shmem:"].map(|name| kib(&text, name));
    // Files that live in memory alone are counted as cached and are not.
    Ok((total? + shared? - free? - buffers? - cached?) * 1024)
}

/// Adds up what `weigh` knows; `None` of it is a process that has gone.
fn sum(pids: &[i32], weigh: impl Fn(i32) -> Option<io::Result<u64>>) -> io::Result<u64> {
    pids.iter().filter_map(|pid| weigh(*pid)).sum()
}

/// The figure of the line that begins with `name`.
fn kib(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    figure.ok_or_else(|| io::Error::other(format!("/proc without {name}")))
}

/// x86-64 and arm64.
const STACK_BYTES: u64 = 16 << 10;
