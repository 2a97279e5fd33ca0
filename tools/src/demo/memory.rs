//! What processes cost: their proportional share of memory.

/// Kilobytes of PSS of some processes together; those that end meanwhile count nothing.
pub fn pss_kb(pids: &[i32]) -> u64 {
    pids.iter().filter_map(|pid| pss_of(*pid)).sum()
}

fn pss_of(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    pss_in(&text)
}

fn pss_in(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text =
            "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss:  5 kB\nPss:    1234 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(pss_in(text), Some(1234));
        assert_eq!(pss_in("Rss: 1 kB\n"), None);
        assert!(pss_kb(&[std::process::id() as i32]) > 100, "we have some memory ourselves");
        assert_eq!(pss_kb(&[-5]), 0);
    }
}
