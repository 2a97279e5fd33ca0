//! What a process weighs.

use std::io;

/// Proportional set size of these processes together, in bytes; one that has gone weighs nothing.
///
/// # Errors
/// /proc has no such figure.
pub fn pss_bytes(pids: &[i32]) -> io::Result<u64> {
    let mut total = 0;
    for pid in pids {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            continue;
        };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        total += kib.ok_or_else(|| io::Error::other("smaps_rollup without Pss"))? * 1024;
    }
    Ok(total)
}
