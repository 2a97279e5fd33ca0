//! What the host must offer, asked before anybody is promised anything.
//!
//! [`probe`] tries what the engine will do, in the sizes in which it will do it, and says in one
//! line each what is missing, what it is called and how it is mended. The kernel's version is
//! never asked for: what counts is what it does.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits::Limits;
use crate::places::Places;
use crate::sys::dense::Dense;
use crate::sys::vault::Vault;
use crate::sys::{SUBMISSIONS, trial};
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
            adopts_watches: status.is_ok_and(|status| can_read_by_handle(&status)),
        }
    }

    fn judge(&self, limits: &Limits, findings: &mut Vec<Finding>) {
        use Severity::{Refusal, Warning};
        let mut say = |severity, line| findings.push(Finding { severity, line });
        match &self.ring {
            Err(_) if self.io_uring_disabled > 0 => say(
                Refusal,
                format!(
                    "host: io_uring is forbidden: kernel.io_uring_disabled = {}; set it to 0, or \
                     to 1 and run in the group of kernel.io_uring_group",
                    self.io_uring_disabled
                ),
            ),
            Err(why) => say(Refusal, why.clone()),
            Ok(missing) if !missing.is_empty() => {
                let missing = missing.join(", ");
                say(Refusal, format!("host: io_uring lacks {missing}: Linux 6.1 is needed"));
            }
            Ok(_) => {}
        }
        if let (Ok(_), Err(why)) = (&self.ring, &self.vault) {
            let cost = "clients keep descriptors of their own and do not outlive the engine";
            say(Warning, format!("{why}; {cost}"));
        }
        if let Err(why) = &self.dense {
            let cost = "sleepers have items, of 222 bytes of kernel memory each";
            let remedy =
                "add CAP_BPF and CAP_PERFMON to CapabilityBoundingSet, or set dense = false";
            say(Warning, format!("{why}; {cost}; {remedy}"));
        }
        if !self.has_proc {
            let line = "host: /proc is not mounted, so a notify descriptor cannot be recognized";
            say(Refusal, line.into());
        }
        self.judge_descriptors(limits, &mut say);
        self.judge_watches(limits, &mut say);
        if self.items_max < limits.slots_max.into() {
            let line = format!(
                "host: fs.epoll.max_user_watches = {} is below slots_max = {}: sleepers beyond it \
                 cost 650 bytes more each; raise it",
                self.items_max, limits.slots_max
            );
            say(Warning, line);
        }
        if self.backlog_max < LISTEN_BACKLOG as u64 {
            let line = format!(
                "host: net.core.somaxconn = {} is below {LISTEN_BACKLOG}: in a burst of \
                 hibernations workers find the socket busy and stay; raise it",
                self.backlog_max
            );
            say(Warning, line);
        }
    }

    fn judge_descriptors(&self, limits: &Limits, say: &mut impl FnMut(Severity, String)) {
        let (own, lent) = if self.vault.is_ok() { (0, SUBMISSIONS) } else { (1, 0) };
        let all = own + u64::from(!self.adopts_watches);
        for (each, severity) in [(own, Severity::Refusal), (all, Severity::Warning)] {
            let needed = descriptors_needed(limits, each) + u64::from(lent);
            if self.descriptors_max < needed {
                let who = match each {
                    0 => format!("conns_max = {}", limits.conns_max),
                    _ => format!("slots_max = {} with {each} for each client", limits.slots_max),
                };
                let line = format!(
                    "host: RLIMIT_NOFILE = {} is below {needed}, which {who} needs; raise \
                     LimitNOFILE or lower what needs it",
                    self.descriptors_max
                );
                return say(severity, line);
            }
        }
    }

    fn judge_watches(&self, limits: &Limits, say: &mut impl FnMut(Severity, String)) {
        if let Some(folder) = &self.unpolled {
            say(Severity::Refusal, format!("config: watch.poll_dirs: there is no {folder}"));
        }
        let mut warn = |line| say(Severity::Warning, line);
        self.unmarked.iter().for_each(|line| warn(line.clone()));
        if !self.adopts_watches {
            warn(
                "host: CAP_DAC_READ_SEARCH is missing: each sleeper keeps a notify descriptor of \
                 its own, which costs kernel memory and 8 to 16 ms to close; set \
                 AmbientCapabilities=CAP_DAC_READ_SEARCH"
                    .into(),
            );
            if self.instances_max < limits.slots_max.into() {
                warn(format!(
                    "host: fs.inotify.max_user_instances = {} is all that sleepers of one mail \
                     user may keep; raise it to slots_max = {}",
                    self.instances_max, limits.slots_max
                ));
            }
        }
        // Maildir: new and cur.
        let needed = u64::from(limits.mailboxes_max) * 2;
        if !self.is_marked && self.watches_max < needed {
            warn(format!(
                "host: fs.inotify.max_user_watches = {} is below {needed}, which mailboxes_max = \
                 {} may need; raise it",
                self.watches_max, limits.mailboxes_max
            ));
        }
    }
}

/// Descriptors with every place taken: of clients, for as long as the vault does not have them; of
/// connections with what they have brought; of conversations with their workers; and a reserve,
/// without which a descriptor that is passed while the table is full would be lost in the kernel.
fn descriptors_needed(limits: &Limits, per_client: u64) -> u64 {
    let clients = u64::from(limits.slots_max) * per_client;
    let conns = u64::from(limits.conns_max) * 3;
    let handoffs = u64::from(limits.handoffs_in_flight_max) * 2;
    clients + conns + handoffs + DESCRIPTORS_RESERVE
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
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What the hibernate socket's listen(2) should ask for.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Standard streams, logs, sockets, rings, and what libraries open for a moment.
pub const DESCRIPTORS_RESERVE: u64 = 256;
/// linux/capability.h.
const CAP_DAC_READ_SEARCH: u32 = 2;

#[cfg(test)]
mod tests;
