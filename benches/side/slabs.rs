//! Kernel memory, by the pages that its caches take (/proc/slabinfo).

use std::collections::BTreeMap;
use std::io;

/// Bytes of each cache.
pub type Slabs = BTreeMap<String, u64>;

/// What the caches take now.
///
/// # Errors
/// Only root may read them.
pub fn bytes() -> io::Result<Slabs> {
    let text = std::fs::read_to_string("/proc/slabinfo")?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096) as u64;
    // name active_objs num_objs objsize objperslab pagesperslab : … : slabdata active num shared
    let cache = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (pages, slabs) = (fields.get(5)?.parse::<u64>(), fields.get(14)?.parse::<u64>());
        Some((fields.first()?.to_string(), pages.ok()? * slabs.ok()? * page))
    };
    Ok(text.lines().skip(2).filter_map(cache).collect())
}

/// Gives back the slabs that are empty, so that what grows next grows by whole ones. Where the
/// kernel does not let us, figures of few clients come out too small.
pub fn shrink() {
    let Ok(caches) = std::fs::read_dir("/sys/kernel/slab") else { return };
    for cache in caches.flatten() {
        // Caches come and go, and aliases name the same one twice.
        let _ = std::fs::write(cache.path().join("shrink"), "1");
    }
}

/// What all caches grew by.
pub fn total(before: &Slabs, after: &Slabs) -> i64 {
    after.keys().map(|name| growth(before, after, name)).sum()
}

/// The caches that grew most.
pub fn largest(before: &Slabs, after: &Slabs) -> Vec<(String, i64)> {
    let grown = after.keys().map(|name| (name.clone(), growth(before, after, name)));
    let mut grown: Vec<(String, i64)> = grown.filter(|(_, bytes)| *bytes > 0).collect();
    grown.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    grown.truncate(SHOWN);
    grown
}

fn growth(before: &Slabs, after: &Slabs, name: &str) -> i64 {
    let bytes = |slabs: &Slabs| slabs.get(name).copied().unwrap_or(0).cast_signed();
    bytes(after) - bytes(before)
}

const SHOWN: usize = 12;
