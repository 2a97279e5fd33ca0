//! The configuration file: TOML, every key optional, every number with its unit in its name.
//!
//! What the engine needs comes out as its own [`Limits`] and [`Knobs`], checked there; an error
//! names file, line and key. docs/OPERATIONS.md lists the keys.

mod change;
mod error;
mod front;
mod parts;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use torpor_engine::cold::BLOCK_BYTES;
use torpor_engine::limits::{self, Knobs, Limits};
use torpor_engine::mailboxes::Debounce;
use torpor_engine::probe::DESCRIPTORS_RESERVE;
use torpor_engine::watcher::Ways;

pub use error::ConfigError;
pub use front::Front;
pub use parts::{
    Anvil, Control, Hibernate, KeepAwake, Level, Log, LogFormat, Metrics, Sleep, Wake, Watch,
};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Dovecot's `base_dir`: the folder of `imap-hibernate`, `imap-master` and `anvil`.
    pub base_dir: PathBuf,
    /// Engine processes that share the hibernate socket and nothing else.
    pub engines: u32,
    /// Whom engines run as when torpor is started by root; none: root, with three capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub hibernate: Hibernate,
    pub sleep: Sleep,
    pub watch: Watch,
    pub wake: Wake,
    pub anvil: Anvil,
    pub control: Control,
    pub log: Log,
    pub metrics: Metrics,
    pub front: Front,
}

impl Config {
    /// Reads `path`, or the file at its usual place if there is one, else takes the defaults.
    ///
    /// # Errors
    /// Names file, line and key of what cannot be used.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let usual = Path::new(USUAL_PATH);
        let (path, text) = match (path, usual.exists()) {
            (Some(path), _) => (path, read(path)?),
            (None, true) => (usual, read(usual)?),
            (None, false) => (usual, String::new()),
        };
        Self::parse(path, &text)
    }

    /// Reads a configuration that is already in memory; `path` is for the errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        let checked = config.check();
        checked.map_err(|(key, why)| ConfigError::value(path, text, key, why))?;
        Ok(config)
    }

    /// The same after `change`, which is what the command line says.
    ///
    /// # Errors
    /// Names the key whose value cannot work.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Result<Self, ConfigError> {
        change(&mut self);
        self.settle();
        let checked = self.check().and_then(|()| self.front.check_whole());
        checked.map_err(|(key, why)| ConfigError::value(Path::new("options"), "", key, why))?;
        Ok(self)
    }

    /// What nobody has set follows from `front.maildir`: with mail homes of its own, torpor has a
    /// folder of its own, no Dovecot to talk to, and nobody else who may hibernate clients.
    fn settle(&mut self) {
        let Some(maildir) = &self.front.maildir else { return };
        if self.base_dir == Path::new(BASE_DIR) {
            self.base_dir = Front::base_dir_of(maildir);
        }
        if self.hibernate == Hibernate::default() {
            self.hibernate.mode = 0o600;
            // Our own workers restore every session.
            self.hibernate.keep_awake = KeepAwake::Nobody;
            self.hibernate.owner = self.front.user.clone();
        }
        self.anvil.enabled = false;
    }

    /// The engine's bounds for `slots_max` clients (see [`Config::slots_max`]).
    pub fn limits(&self, slots_max: u32) -> Limits {
        let blocks = u64::from(slots_max) * (self.sleep.cold_bytes_per_client / BLOCK_BYTES as u64);
        Limits {
            slots_max,
            conns_max: self.hibernate.conns_max,
            line_bytes_max: self.hibernate.line_bytes_max,
            cold_blocks_max: u32::try_from(blocks).unwrap_or(u32::MAX - 1),
            mailboxes_max: self.sleep.mailboxes_max.unwrap_or(slots_max),
            handoffs_in_flight_max: self.wake.handoffs_in_flight_max,
            sends_in_flight_max: self.sleep.sends_in_flight_max,
            dozers_max: self.sleep.dozers_max,
        }
    }

    /// The engine's values that may change at a reload.
    pub fn knobs(&self) -> Knobs {
        Knobs {
            workers_max: self.wake.workers_max,
            awake_age_ms_max: self.wake.awake_age_ms_max,
            input_wait_ms_max: self.wake.input_wait_ms_max,
            change_wait_ms_max: self.wake.change_wait_ms_max,
            conn_timeout_ms: self.hibernate.conn_timeout_ms,
            retry_ms_min: self.wake.retry_ms_min,
            retry_ms_max: self.wake.retry_ms_max,
            doze_ms: u64::from(self.sleep.doze_secs) * 1000,
            late_change_ms: self.hibernate.late_change_ms,
            debounce: Debounce {
                window_ms: self.watch.debounce_ms,
                delay_ms_max: self.watch.debounce_ms_max,
            },
            keep_awake: match self.hibernate.keep_awake {
                KeepAwake::Nobody => limits::KeepAwake::Nobody,
                KeepAwake::Qresync => limits::KeepAwake::Qresync,
                KeepAwake::Condstore => limits::KeepAwake::Condstore,
            },
            peer_uids: self.hibernate.allowed_uids.clone(),
            peer_gids: self.hibernate.allowed_gids.clone(),
        }
    }

    /// How mailboxes are heard.
    pub fn ways(&self) -> Ways {
        let poll_secs = self.watch.poll_secs;
        Ways {
            homes: self.front.maildir.clone(),
            poll: (poll_secs > 0).then(|| Duration::from_secs(poll_secs.into())),
            poll_folders: self.watch.poll_dirs.clone(),
        }
    }

    /// Clients asleep at once: what is configured, else [`SLOTS_DEFAULT`]. Where each of them may
    /// keep a descriptor, no more than `numbers_max` (RLIMIT_NOFILE) carry after the reserve.
    pub fn slots_max(&self, numbers_max: Option<u64>) -> u32 {
        let left = numbers_max.map_or(u64::MAX, |max| max.saturating_sub(self.files_reserved()));
        self.sleep.slots_max.unwrap_or(left.min(SLOTS_DEFAULT.into()) as u32)
    }

    /// Descriptors for everything that is not a sleeping client: a hibernate connection brings
    /// three, a handoff needs two besides the client's, a worker that took a client one.
    pub fn files_reserved(&self) -> u64 {
        let conns = u64::from(self.hibernate.conns_max) * 3;
        let handoffs = u64::from(self.wake.handoffs_in_flight_max) * 2;
        conns + handoffs + u64::from(self.workers_watched()) + DESCRIPTORS_RESERVE
    }

    /// Workers whose end is watched for after they took a client: as many as may count as awake,
    /// within reason. A reload does not change it.
    pub fn workers_watched(&self) -> u32 {
        self.wake.workers_max.clamp(1, WORKERS_WATCHED_MAX)
    }

    /// The hibernate socket.
    pub fn hibernate_path(&self) -> PathBuf {
        self.base_dir.join("imap-hibernate")
    }

    /// The control socket.
    pub fn control_path(&self) -> PathBuf {
        self.control.path.clone().unwrap_or_else(|| control_path(&self.base_dir))
    }

    /// The first key whose value cannot work, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let paths = [
            ("base_dir", self.hibernate_path()),
            ("path", self.control_path()),
            ("path", keeper_path(&self.control_path())),
        ];
        for (key, path) in paths {
            if !path.is_absolute() || path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
                let why = format!(
                    "{} must be absolute and of at most {SOCKET_PATH_BYTES_MAX} bytes",
                    path.display()
                );
                return Err((key, why));
            }
        }
        let ranges = [
            ("engines", self.engines.into(), 1, ENGINES_MOST),
            ("backlog", u64::from(self.hibernate.backlog), 1, 65_535),
            ("cold_bytes_per_client", self.sleep.cold_bytes_per_client, 1_280, 1 << 20),
            ("connections_max", u64::from(self.control.connections_max), 1, 1024),
            ("vanish_timeout_ms", u64::from(self.sleep.vanish_timeout_ms), 0, 86_400_000),
            ("poll_secs", u64::from(self.watch.poll_secs), 0, 86_400),
            ("version_timeout_ms", self.wake.version_timeout_ms, 100, 3_600_000),
            ("ack_timeout_ms", self.wake.ack_timeout_ms, 1_000, 86_400_000),
        ];
        within(&ranges)?;
        self.front.check()?;
        let slots = self.limits(self.sleep.slots_max.unwrap_or(SLOTS_DEFAULT));
        let named = |error: torpor_engine::limits::LimitError| {
            (error.field, format!("{} is out of range: {}", error.value, error.why))
        };
        slots.check().map_err(named)?;
        self.knobs().check().map_err(named)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_dir: BASE_DIR.into(),
            engines: 1,
            user: None,
            hibernate: Hibernate::default(),
            sleep: Sleep::default(),
            watch: Watch::default(),
            wake: Wake::default(),
            anvil: Anvil::default(),
            control: Control::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            front: Front::default(),
        }
    }
}

/// Where the control socket of the torpor that serves `base_dir` lies, unless configured.
pub fn control_path(base_dir: &Path) -> PathBuf {
    base_dir.join("torpor.sock")
}

/// Where the keeper of the torpor with this control socket is asked for an upgrade.
pub fn keeper_path(control: &Path) -> PathBuf {
    control.with_extension("keeper")
}

/// The first key whose value lies outside of its bounds.
fn within(ranges: &[(&'static str, u64, u64, u64)]) -> Result<(), (&'static str, String)> {
    let out = ranges.iter().find(|(_, value, least, most)| !(least..=most).contains(&value));
    match out {
        Some((key, value, least, most)) => {
            Err((key, format!("{value} is out of range: {least} to {most}")))
        }
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::read(path, &error))
}

/// More engines than a machine has cores wait for each other.
const ENGINES_MOST: u64 = 256;
/// Descriptors that watching workers may cost.
const WORKERS_WATCHED_MAX: u32 = 1024;
/// Dovecot's usual `base_dir`.
pub const BASE_DIR: &str = "/run/dovecot";
/// Read when no `--config` is given, if it exists.
pub const USUAL_PATH: &str = "/etc/torpor.toml";
/// As many clients as a stock imap-hibernate service holds: 100 processes of 1,000.
pub const SLOTS_DEFAULT: u32 = 100_000;
/// `sun_path` has 108 bytes, the closing zero among them.
const SOCKET_PATH_BYTES_MAX: usize = 107;
