//! What the host must offer, asked before anybody is promised anything.
//!
//! [`probe`] tries what the engine will do, in the sizes in which it will do it, and says in one
//! line each what is missing, what it is called and how it is mended. The kernel's version is
//! never asked for: what counts is what it does.

mod judge;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits::Limits;
use crate::places::Places;
use crate::sys::dense::Dense;
use crate::sys::trial;
use crate::sys::vault::{TABLE_PLACES, Vault};
use crate::watcher::Marks;

/// Something that an operator should know before the engine starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Begins with who is to blame, names the knob and the remedy. One line.
    pub line: String,
}

/// Whether it can be lived with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The engine cannot start.
    Refusal,
    /// The engine starts, but costs more or holds less than it could.
    Warning,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Refusal => "refused",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.line)
    }
}

/// What is asked for beyond the limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a> {
    /// The watcher is told where all mail lies.
    pub has_homes: bool,
    /// Sleepers are to do without items.
    pub dense: bool,
    /// Filesystems to be marked.
    pub fanotify_dirs: &'a [PathBuf],
    /// Those that others write to.
    pub poll_dirs: &'a [PathBuf],
}

/// Raises the soft RLIMIT_NOFILE to the hard one, looks at everything else, and lists what is
/// wrong; empty when nothing is.
pub fn probe(limits: &Limits, wishes: &Wishes) -> Vec<Finding> {
    let mut findings = vec![];
    if let Err(error) = limits.check() {
        findings.push(Finding { severity: Severity::Refusal, line: format!("config: {error}") });
        return findings;
    }
    let mut host = Host::look(limits);
    host.adopts_watches |= wishes.has_homes;
    if wishes.dense {
        host.dense = Dense::create(1).map(drop).map_err(|error| error.to_string());
    }
    if !wishes.fanotify_dirs.is_empty() {
        let (marks, lines) = Marks::make(wishes.fanotify_dirs);
        host.is_marked = marks.is_some() && lines.is_empty();
        host.unmarked = lines;
    }
    let missing = wishes.poll_dirs.iter().find(|folder| !folder.exists());
    host.unpolled = missing.map(|folder| folder.display().to_string());
    host.judge(limits, &mut findings);
    findings
}

/// True where each sleeper may keep a descriptor number: nothing else can hold its socket, or its
/// mailbox's watches can be nobody else's. `has_homes`: as [`Wishes::has_homes`].
pub fn keeps_numbers(has_homes: bool) -> bool {
    let status = || fs::read_to_string("/proc/self/status");
    let adopts = || has_homes || status().is_ok_and(|status| can_read_by_handle(&status));
    Vault::create(TABLE_PLACES).is_err() || !adopts()
}

/// What was seen. Numbers that cannot be read are the ones that disturb nobody.
#[derive(Clone, Debug)]
struct Host {
    /// Why a ring of full size cannot be had, or which operations it lacks.
    ring: Result<Vec<&'static str>, String>,
    /// Why clients cannot be put where they outlive the engine.
    vault: Result<(), String>,
    /// Why the programs of dense sleep cannot be loaded, if that is asked for.
    dense: Result<(), String>,
    /// Why filesystems cannot be marked, a line each.
    unmarked: Vec<String>,
    /// All that was asked for is marked: mailboxes need no watches.
    is_marked: bool,
    /// A folder that cannot be polled.
    unpolled: Option<String>,
    /// kernel.io_uring_disabled.
    io_uring_disabled: u32,
    has_proc: bool,
    /// RLIMIT_NOFILE, the soft one, after raising it.
    descriptors_max: u64,
    /// fs.inotify.max_user_watches and fs.inotify.max_user_instances.
    watches_max: u64,
    instances_max: u64,
    /// fs.epoll.max_user_watches.
    items_max: u64,
    /// net.core.somaxconn.
    backlog_max: u64,
    /// fs.inotify.max_queued_events.
    events_max: u64,
    /// net.ipv4.tcp_mem, the second: where TCP begins to save, in pages.
    tcp_pages: u64,
    /// MemTotal.
    memory_bytes: u64,
    /// CAP_DAC_READ_SEARCH is in the effective set, or all mail lies in homes that are known.
    adopts_watches: bool,
}

impl Host {
    fn look(limits: &Limits) -> Self {
        let status = fs::read_to_string("/proc/self/status");
        // First: it bounds the vault's tables.
        let descriptors_max = raise_descriptors();
        let vault = Vault::create(Places::new(limits).count()).map(drop);
        Self {
            ring: trial(limits).map_err(|error| error.to_string()),
            vault: vault.map_err(|error| error.to_string()),
            dense: Ok(()),
            unmarked: Vec::new(),
            is_marked: false,
            unpolled: None,
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled").unwrap_or(0),
            has_proc: status.is_ok(),
            descriptors_max,
            watches_max: number("/proc/sys/fs/inotify/max_user_watches").unwrap_or(u64::MAX),
            instances_max: number("/proc/sys/fs/inotify/max_user_instances").unwrap_or(u64::MAX),
            items_max: number("/proc/sys/fs/epoll/max_user_watches").unwrap_or(u64::MAX),
            backlog_max: number("/proc/sys/net/core/somaxconn").unwrap_or(u64::MAX),
            events_max: number("/proc/sys/fs/inotify/max_queued_events").unwrap_or(u64::MAX),
            tcp_pages: word("/proc/sys/net/ipv4/tcp_mem", 1).unwrap_or(u64::MAX),
            memory_bytes: word("/proc/meminfo", 1).map_or(u64::MAX, |kib: u64| kib * 1024),
            adopts_watches: status.is_ok_and(|status| can_read_by_handle(&status)),
        }
    }
}

/// Gives the soft limit that is then in force.
fn raise_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

fn can_read_by_handle(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> CAP_DAC_READ_SEARCH & 1 == 1)
}

fn number<N: FromStr>(path: &str) -> Option<N> {
    word(path, 0)
}

/// A word of a file, the first being 0.
fn word<N: FromStr>(path: &str, at: usize) -> Option<N> {
    fs::read_to_string(path).ok()?.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// What the hibernate socket's listen(2) should ask for.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Standard streams, logs, sockets, rings, and what libraries open for a moment.
pub const DESCRIPTORS_RESERVE: u64 = 256;
/// linux/capability.h.
const CAP_DAC_READ_SEARCH: u32 = 2;

#[cfg(test)]
mod tests;
