//! What was seen, compared with what is asked for.

use super::{DESCRIPTORS_RESERVE, Finding, Host, LISTEN_BACKLOG, Severity};
use crate::limits::Limits;
use crate::sys::SUBMISSIONS;

impl Host {
    pub(super) fn judge(&self, limits: &Limits, findings: &mut Vec<Finding>) {
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
        self.judge_memory(limits, &mut |line| say(Warning, line));
    }

    fn judge_memory(&self, limits: &Limits, warn: &mut impl FnMut(String)) {
        let slots_max = u64::from(limits.slots_max);
        let needed = slots_max * SLEEPER_BYTES;
        if self.memory_bytes < needed {
            warn(format!(
                "host: MemTotal = {} MiB is below {} MiB, which slots_max = {slots_max} sleepers \
                 take; lower it",
                self.memory_bytes >> 20,
                needed >> 20
            ));
        }
        if self.tcp_pages < slots_max / UNHEARD_SHARE {
            warn(format!(
                "host: net.ipv4.tcp_mem begins to save at {} pages, and slots_max = {slots_max} \
                 sleepers take {} when keepalives of one in {UNHEARD_SHARE} are not acknowledged; \
                 raise it",
                self.tcp_pages,
                slots_max / UNHEARD_SHARE
            ));
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
        if self.events_max < EVENTS_LEAST {
            warn(format!(
                "host: fs.inotify.max_queued_events = {} is below {EVENTS_LEAST}: in a burst of \
                 deliveries events are lost and every sleeper wakes; raise it",
                self.events_max
            ));
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

/// What a sleeper takes on TCP, kernel and all (docs/DENSITY.md).
const SLEEPER_BYTES: u64 = 4_400;
/// A client whose network has gone acknowledges no keepalive, which takes a page until it is given
/// up. More than one in so many at once is an outage.
const UNHEARD_SHARE: u64 = 8;
/// The kernel's default.
const EVENTS_LEAST: u64 = 16_384;
