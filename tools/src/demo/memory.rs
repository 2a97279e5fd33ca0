//! What clients cost: processes by their proportional share, the kernel by its slabs.

use std::io;
use std::net::{TcpListener, TcpStream};

/// Kilobytes of PSS of some processes together; those that end meanwhile count nothing.
pub fn pss_kb(pids: &[i32]) -> u64 {
    pids.iter().filter_map(|pid| kb_of(*pid, "smaps_rollup", "Pss:")).sum()
}

/// Kilobytes of page tables and kernel stacks of some processes together. What else the kernel
/// has of a process is less than either.
pub fn process_kernel_kb(pids: &[i32]) -> u64 {
    let tables = pids.iter().filter_map(|pid| kb_of(*pid, "status", "VmPTE:")).sum::<u64>();
    let threads = pids.iter().filter_map(|pid| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        Some(tasks.count() as u64)
    });
    tables + threads.sum::<u64>() * STACK_KB
}

/// What sleepers weigh altogether at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    pub user_bytes: u64,
    pub kernel_bytes: u64,
}

impl Weight {
    /// Of these processes and of the kernel now.
    ///
    /// # Errors
    /// The kernel tells nothing about its memory.
    pub fn now(pids: &[i32]) -> io::Result<Self> {
        Ok(Self { user_bytes: pss_kb(pids) * 1024, kernel_bytes: slabs()? })
    }

    /// What each of `clients` has added since `before`, of which `client_end` is not torpor's.
    pub fn each_since(self, before: Self, clients: u32, client_end: u64) -> Self {
        let each = |now: u64, then: u64| now.saturating_sub(then) / u64::from(clients.max(1));
        let kernel = each(self.kernel_bytes, before.kernel_bytes);
        Self {
            user_bytes: each(self.user_bytes, before.user_bytes),
            kernel_bytes: kernel.saturating_sub(client_end),
        }
    }
}

/// Kernel memory of one end of a connection, learnt by making some. The clients' ends are on this
/// machine as well.
///
/// # Errors
/// No connections can be made, or the kernel tells nothing about its memory.
pub fn client_end_bytes() -> io::Result<u64> {
    let before = slabs()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let near = TcpStream::connect(listener.local_addr()?)?;
        pairs.push((near, listener.accept()?));
    }
    Ok(slabs()?.saturating_sub(before) / (2 * PAIRS))
}

/// What is counted of the kernel, for people.
pub fn source() -> &'static str {
    match std::fs::File::open(SLABINFO) {
        Ok(_) => "slabs of sockets, files, watches, io_uring",
        Err(_) => "all unreclaimable slabs of this machine",
    }
}

/// Bytes of the slabs that connections live in; for others than root, who may not see which slab
/// is which, of all that cannot be reclaimed.
fn slabs() -> io::Result<u64> {
    if let Ok(text) = std::fs::read_to_string(SLABINFO) {
        return Ok(slabs_in(&text));
    }
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kb = kb_in(&text, "SUnreclaim:");
    kb.map(|kb| kb * 1024).ok_or_else(|| io::Error::other("/proc/meminfo has no SUnreclaim"))
}

/// Lines of `name active_objs num_objs objsize ...` (slabinfo(5)).
fn slabs_in(text: &str) -> u64 {
    let bytes = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        if !SLABS.contains(&name) {
            return None;
        }
        let active: u64 = words.next()?.parse().ok()?;
        let size: u64 = words.nth(1)?.parse().ok()?;
        Some(active * size)
    });
    bytes.sum()
}

fn kb_of(pid: i32, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    kb_in(&text, key)
}

fn kb_in(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

const SLABINFO: &str = "/proc/slabinfo";
/// `dentry` is left out, though every socket has one of 192 bytes: the files of the mail store have
/// far more of them.
const SLABS: [&str; 8] = [
    "TCP",
    "TCPv6",
    "sock_inode_cache",
    "filp",
    "inotify_inode_mark",
    "io_kiocb",
    "io_buffer",
    "eventpoll_epi",
];
/// Enough to fill many slabs, which have 10 to 30 objects each.
const PAIRS: u64 = 300;
/// THREAD_SIZE of x86-64 and arm64.
const STACK_KB: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let text =
            "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss:  5 kB\nPss:    1234 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kb_in(text, "Pss:"), Some(1234));
        assert_eq!(kb_in("Rss: 1 kB\n", "Pss:"), None);
        assert!(pss_kb(&[std::process::id() as i32]) > 100, "we have some memory ourselves");
        assert!(process_kernel_kb(&[std::process::id() as i32]) > STACK_KB);
        assert_eq!(pss_kb(&[-5]), 0);
        let slabs = "slabinfo - version: 2.1\n# name <active_objs>\n\
                     TCP  30 42 2560 12 8 : tunables 0 0 0 : slabdata 3 3 0\n\
                     dentry 9 9 192 21 1 : x\nfilp 4 9 256 1\n";
        assert_eq!(slabs_in(slabs), 30 * 2560 + 4 * 256);
    }

    #[test]
    fn what_was_there_before_is_nobodys() {
        let before = Weight { user_bytes: 10_000, kernel_bytes: 50_000 };
        let now = Weight { user_bytes: 18_000, kernel_bytes: 130_000 };
        let each = Weight { user_bytes: 800, kernel_bytes: 5_000 };
        assert_eq!(now.each_since(before, 10, 3_000), each);
        let none = Weight { user_bytes: 0, kernel_bytes: 0 };
        assert_eq!(before.each_since(now, 0, 3_000), none, "noise of others is no miracle");
    }
}
