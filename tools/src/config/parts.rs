//! The sections of the configuration file and their defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[hibernate]`: the socket on which workers hand their clients over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hibernate {
    /// Permissions of the socket, octal.
    #[serde(deserialize_with = "from_octal", serialize_with = "to_octal")]
    pub mode: u32,
    /// Owner; none: whoever torpor runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group; Dovecot's internal group if there is one, since imap workers are members of it.
    pub group: Option<String>,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Hibernate connections at once; those beyond wait.
    pub conns_max: u32,
    /// Bytes of one hibernate line.
    pub line_bytes_max: u32,
    /// Uids that may hibernate clients, and gids; both empty: whomever `mode` lets in.
    pub allowed_uids: Vec<u32>,
    pub allowed_gids: Vec<u32>,
    /// A hibernate connection that does not finish within this is closed.
    pub conn_timeout_ms: u64,
    /// A mailbox changed at most this long before hibernation is taken for changed.
    pub late_change_ms: u64,
    /// Sessions that stay with their worker, which would not restore them as they were.
    pub keep_awake: KeepAwake,
}

/// See `torpor_engine::limits::KeepAwake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepAwake {
    Nobody,
    Qresync,
    Condstore,
}

/// `[sleep]`: what sleepers may cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sleep {
    /// Clients asleep at once; none: as many as RLIMIT_NOFILE carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_max: Option<u32>,
    /// Bytes set aside per client for the words of its hibernate line, input and output.
    pub cold_bytes_per_client: u64,
    /// Folder of the cold store's files, so that words of sleepers need not be resident; none:
    /// in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_dir: Option<PathBuf>,
    /// A client has a receive of its own for so long after it fell asleep or was answered.
    pub doze_secs: u32,
    /// Clients that have one at once.
    pub dozers_max: u32,
    /// TCP clients sleep without an item of the epoll set; takes CAP_BPF and CAP_PERFMON.
    pub dense: bool,
    /// Mailboxes watched at once; none: one for each slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailboxes_max: Option<u32>,
    /// Sends to clients in flight at once.
    pub sends_in_flight_max: u32,
    /// A TCP client that leaves what it was sent unacknowledged for this long is gone
    /// (TCP_USER_TIMEOUT); 0: the system's own time.
    pub vanish_timeout_ms: u32,
}

/// `[watch]`: hearing of changed mailboxes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// One fanotify mark on each filesystem that these folders lie on, instead of inotify watches
    /// for its mailboxes; takes CAP_SYS_ADMIN at start.
    pub fanotify_dirs: Vec<PathBuf>,
    /// A changed mailbox wakes its sleepers when it has been quiet for so long; 0: at once.
    pub debounce_ms: u64,
    /// But no later than this.
    pub debounce_ms_max: u64,
    /// Mailboxes on filesystems that other hosts write to are looked at so often; 0: never.
    pub poll_secs: u32,
    /// Folders on such filesystems, beside those that are known to be (NFS, SMB, FUSE, Ceph, ...).
    pub poll_dirs: Vec<PathBuf>,
}

/// `[wake]`: giving clients back to workers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wake {
    /// Handoffs in flight plus sessions woken and not seen again, at most.
    pub workers_max: u32,
    /// Conversations with imap-master at once.
    pub handoffs_in_flight_max: u32,
    /// A woken session counts as awake for at most this long.
    pub awake_age_ms_max: u64,
    /// A client that has sent something is given up (BYE) after waiting this long while the
    /// queue stands still; 0: never.
    pub input_wait_ms_max: u64,
    /// The same for a client whose mailbox changed; 0: never.
    pub change_wait_ms_max: u64,
    /// First and longest pause before a client is offered again.
    pub retry_ms_min: u64,
    pub retry_ms_max: u64,
    /// A worker that does not greet within this is left; the client is untouched.
    pub version_timeout_ms: u64,
    /// A worker that took a client and does not answer within this: the client is shut down.
    pub ack_timeout_ms: u64,
}

/// `[anvil]`: `doveadm who` and `doveadm kick`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Anvil {
    /// Register sleepers with Dovecot's anvil.
    pub enabled: bool,
}

/// `[control]`: the socket of `torpor who`, `kick`, `stats` and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// None: `torpor.sock` in `base_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Permissions of the socket, octal.
    #[serde(deserialize_with = "from_octal", serialize_with = "to_octal")]
    pub mode: u32,
    /// Control connections served at once.
    pub connections_max: u32,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
}

/// Least important line that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// As Dovecot writes them.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[metrics]`: the Prometheus endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port; none: no endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

impl Default for Hibernate {
    fn default() -> Self {
        Self {
            mode: 0o660,
            owner: None,
            group: None,
            backlog: 4096,
            conns_max: 1024,
            line_bytes_max: 1 << 20,
            allowed_uids: Vec::new(),
            allowed_gids: Vec::new(),
            conn_timeout_ms: 30_000,
            late_change_ms: 600,
            keep_awake: KeepAwake::Qresync,
        }
    }
}

impl Default for Sleep {
    fn default() -> Self {
        Self {
            slots_max: None,
            cold_bytes_per_client: 2_048,
            cold_dir: None,
            doze_secs: 30,
            dozers_max: 4096,
            dense: false,
            mailboxes_max: None,
            sends_in_flight_max: 1024,
            vanish_timeout_ms: 0,
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            fanotify_dirs: Vec::new(),
            debounce_ms: 1,
            debounce_ms_max: 1000,
            poll_secs: 30,
            poll_dirs: Vec::new(),
        }
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            workers_max: 850,
            handoffs_in_flight_max: 64,
            awake_age_ms_max: 60_000,
            input_wait_ms_max: 300_000,
            change_wait_ms_max: 0,
            retry_ms_min: 200,
            retry_ms_max: 10_000,
            version_timeout_ms: 30_000,
            ack_timeout_ms: 300_000,
        }
    }
}

impl Default for Anvil {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { path: None, mode: 0o600, connections_max: 8 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text }
    }
}

fn from_octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| serde::de::Error::custom("a mode is octal text such as \"0660\""))
}

fn to_octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mode:04o}"))
}
