//! A `torpor serve --maildir` of one's own in a temporary folder, with users and their mail.
//!
//! The demo, tests and load tests of the built-in worker stand on this, as those with Dovecot
//! stand on [`crate::dovecot`], whose mail clients, deliveries and processes it shares. It needs no
//! privileges and leaves nothing behind.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::{getgid, getuid};
use tempfile::TempDir;

use crate::config::control_path;
use crate::control::{Console, Request, Stats};
use crate::dovecot::{Endpoint, Mailbox, Options, Process};
use crate::front::hash::{Cost, Hash};

/// A running server. Dropping it ends it, its workers, and removes the folder.
#[derive(Debug)]
pub struct Own {
    // The process comes first, so that it has ended before its folder is removed.
    process: Process,
    dir: TempDir,
    address: SocketAddr,
}

impl Own {
    /// Starts `binary serve` for `users` users, named as [`Options::user`] names them, with the
    /// password `pw`. `config` is the text of a torpor.toml whose `[front]` is begun already.
    ///
    /// # Errors
    /// It ends early; then the error holds its log.
    pub fn start(binary: &Path, users: u32, config: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("torpor-").tempdir()?;
        let path = dir.path();
        std::fs::create_dir(path.join("mail"))?;
        // One hash for all: salts protect stolen files, and nobody steals this one.
        let hash = Hash::make(b"pw", Cost::Low);
        let mut lines = String::new();
        for number in 1..=users {
            // A String takes everything.
            let _ = writeln!(lines, "{}:{}", Options::user(number), hash.as_str());
        }
        std::fs::write(path.join("users"), lines)?;
        let text = format!("[front]\nlisten = \"127.0.0.1:0\"\n{config}");
        std::fs::write(path.join("torpor.toml"), text)?;
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh"]).arg(path).arg(binary);
        let process = Process::spawn(&command)?;
        let address = ([127, 0, 0, 1], 0).into();
        let mut own = Self { process, dir, address };
        own.address = own.wait_until_ready()?;
        Ok(own)
    }

    /// Where mail clients connect.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.address, tls: false }
    }

    /// The folder of the sockets.
    pub fn base_dir(&self) -> PathBuf {
        self.maildir().join(".torpor")
    }

    /// The folder of the mail homes.
    pub fn maildir(&self) -> PathBuf {
        self.dir.path().join("mail")
    }

    /// The INBOX of a user, for deliveries.
    pub fn mailbox(&self, user: &str) -> Mailbox {
        Mailbox::new(self.maildir().join(user), getuid().as_raw(), getgid().as_raw())
    }

    /// State of engine and front.
    ///
    /// # Errors
    /// It does not answer.
    pub fn stats(&self) -> io::Result<Stats> {
        let asked = Console::connect(&control_path(&self.base_dir()))?.ask(&Request::Stats {})?;
        asked.stats.ok_or_else(|| io::Error::other("torpor sent no statistics"))
    }

    /// The pid of its first process, the keeper.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The pids of its processes with this subcommand, such as `worker`.
    pub fn pids(&self, subcommand: &str) -> Vec<i32> {
        let is_one = |pid: &i32| {
            let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split('\0').nth(1) == Some(subcommand)
        };
        self.process.descendants().into_iter().filter(is_one).collect()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_until_ready(&mut self) -> io::Result<SocketAddr> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let address = self.log().lines().find_map(|line| {
                let address = line.split_once("mail clients connect to ")?.1;
                address.parse().ok()
            });
            if let Some(address) = address
                && self.stats().is_ok_and(|stats| !stats.front.is_empty())
            {
                return Ok(address);
            }
            let ended = self.process.wait(Duration::from_millis(10)).is_some();
            if ended || Instant::now() > until {
                let what = if ended { "ended while it was starting" } else { "is not ready" };
                return Err(io::Error::other(format!("torpor {what}:\n{}", self.log())));
            }
        }
    }
}

const LAUNCH: &str = r#"
ulimit -n "$(ulimit -Hn)"
exec "$2" serve --config "$1/torpor.toml" --maildir "$1/mail" --users "$1/users" \
    < /dev/null >> "$1/log" 2>&1
"#;
const READY_WITHIN: Duration = Duration::from_secs(10);
