//! `[front]`: clients of the built-in worker, from their connection to their login.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The front's part of the configuration. Without `maildir` there is no front.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Front {
    /// Folder of the mail homes, one a user; none: clients come from Dovecot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maildir: Option<PathBuf>,
    /// Who may log in: a line `user:hash` each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<PathBuf>,
    /// Where mail clients connect.
    pub listen: SocketAddr,
    /// Listen off loopback although passwords and mail then cross the network readably.
    pub insecure_plaintext: bool,
    /// Whom front and workers run as, when torpor is started by root; none: as torpor itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A worker whose client has idled this long hands it over; 0: never.
    pub hibernate_after_ms: u64,
    /// Workers at once, one of them for wakes alone.
    pub workers_max: u32,
    /// A login waits this long for a worker when there are `workers_max`, then is refused.
    pub worker_wait_ms_max: u64,
    /// Connections that have not logged in: in all (the oldest goes first), and of one address
    /// (an IPv4 address, or the first 64 bits of an IPv6 address).
    pub conns_max: u32,
    pub conns_per_address_max: u32,
    /// A connection that has not logged in within this, or these bytes, ends.
    pub auth_timeout_ms: u64,
    pub auth_bytes_max: u32,
    /// Passwords that are checked at once; each takes a processor and the memory of its hash.
    pub hashes_in_flight_max: u32,
    /// Wait before a wrong password is answered: the first, doubled by each further failure of
    /// the address, at most the last.
    pub failure_delay_ms_min: u64,
    pub failure_delay_ms_max: u64,
    /// After so many failures an address is turned away until it has been quiet for `refusal_ms`.
    pub failures_per_address_max: u32,
    pub refusal_ms: u64,
}

impl Front {
    /// What stands in `base_dir`'s place below the mail homes. No user can have this name.
    pub fn base_dir_of(maildir: &Path) -> PathBuf {
        maildir.join(".torpor")
    }

    /// The same for what a file may leave to the command line.
    pub(super) fn check_whole(&self) -> Result<(), (&'static str, String)> {
        match (&self.maildir, &self.users) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(("maildir", "is missing: where is the users' mail?".to_owned())),
            (Some(_), None) => Err(("users", "is missing: who may log in?".to_owned())),
            _ if self.listen.ip().is_loopback() || self.insecure_plaintext => Ok(()),
            _ => Err(("listen", format!("{} {OFF_LOOPBACK}", self.listen))),
        }
    }

    /// The first key whose value cannot work, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let Some(maildir) = &self.maildir else { return Ok(()) };
        if !maildir.is_absolute() {
            return Err(("maildir", format!("{} must be absolute", maildir.display())));
        }
        let ranges = [
            ("workers_max", u64::from(self.workers_max), 2, 1_000_000),
            ("worker_wait_ms_max", self.worker_wait_ms_max, 0, 3_600_000),
            ("conns_max", u64::from(self.conns_max), 1, 1_000_000),
            ("conns_per_address_max", u64::from(self.conns_per_address_max), 1, 1_000_000),
            ("auth_timeout_ms", self.auth_timeout_ms, 100, 3_600_000),
            ("auth_bytes_max", u64::from(self.auth_bytes_max), 512, AUTH_BYTES_MOST),
            ("hashes_in_flight_max", u64::from(self.hashes_in_flight_max), 1, 256),
            ("failure_delay_ms_max", self.failure_delay_ms_max, 0, 60_000),
            ("failure_delay_ms_min", self.failure_delay_ms_min, 0, self.failure_delay_ms_max),
            ("failures_per_address_max", u64::from(self.failures_per_address_max), 1, 1_000_000),
            ("refusal_ms", self.refusal_ms, 0, 86_400_000),
        ];
        super::within(&ranges)
    }
}

impl Default for Front {
    fn default() -> Self {
        Self {
            maildir: None,
            users: None,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1143),
            insecure_plaintext: false,
            user: None,
            hibernate_after_ms: 30_000,
            workers_max: 1024,
            worker_wait_ms_max: 10_000,
            conns_max: 1024,
            conns_per_address_max: 256,
            auth_timeout_ms: 60_000,
            auth_bytes_max: 8_192,
            hashes_in_flight_max: 2,
            failure_delay_ms_min: 500,
            failure_delay_ms_max: 8_000,
            failures_per_address_max: 20,
            refusal_ms: 300_000,
        }
    }
}

/// What a client sends ahead of its login's answer goes to the worker as one argument, in base64,
/// and Linux takes no argument above 128 KiB.
const AUTH_BYTES_MOST: u64 = 65_536;
const OFF_LOOPBACK: &str = "is not a loopback address, and without TLS passwords and mail would \
                            cross the network readably; say --insecure-plaintext (or \
                            insecure_plaintext = true) if that is what you want";
