//! The folder of the demo, and the two servers in it.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::config::control_path;
use crate::control::{Console, Request, Stats};
use crate::dovecot::{Dovecot, Options, Process, Version, raise_open_files};

/// A private Dovecot with torpor beside it. Dropping it ends both and removes the folder.
pub struct Stage {
    /// Ends before Dovecot does, so that its sleepers get their BYE.
    pub torpor: Process,
    pub dovecot: Dovecot,
    /// Awake clients at once that the host's inotify limit allows for.
    pub awake_max: u32,
    clients: u32,
}

impl Stage {
    /// Starts both. The user after the last client is the reader's own.
    ///
    /// # Errors
    /// No Dovecot is installed (the error says how to), this is not root, or a server does not
    /// start.
    pub fn set(clients: u32) -> io::Result<Self> {
        let version = Version::installed()?;
        let files_max = raise_open_files();
        if u64::from(clients) * 4 + 500 > files_max {
            let text = format!("--clients {clients}: too many for RLIMIT_NOFILE = {files_max}");
            return Err(io::Error::other(text));
        }
        let mut options = Options::new(version);
        options.users = clients + 1;
        options.hibernate_timeout_secs = HIBERNATE_SECS;
        options.imap_process_limit = clients + 64;
        // A uid of its own, so that nobody else's mail shares its inotify instances.
        options.mail_uid = MAIL_UID_FIRST + std::process::id() % MAIL_UIDS;
        options.mail_gid = options.mail_uid;
        let dovecot = Dovecot::start(&options)?;
        let torpor = start_torpor(&dovecot)?;
        let stage = Self { torpor, dovecot, awake_max: awake_max(), clients };
        stage.wait_for_torpor()?;
        Ok(stage)
    }

    /// The engine's statistics.
    pub fn stats(&self) -> io::Result<Stats> {
        let asked = Console::connect(&self.control())?.ask(&Request::Stats {})?;
        asked.stats.ok_or_else(|| io::Error::other("torpor sent no statistics"))
    }

    /// One of its counters.
    pub fn counter(&self, name: &str) -> io::Result<u64> {
        Ok(self.stats()?.counters.get(name).copied().unwrap_or_default())
    }

    /// How the reader's own mail client gets in.
    pub fn invitation(&self) -> String {
        let address = self.dovecot.endpoint(false).address;
        let user = Options::user(self.clients + 1);
        let base_dir = self.dovecot.base_dir();
        format!(
            "\nIt stays up for your own mail client: IMAP without TLS at {address}, user {user}, \
             password pw.\nLet it idle for {HIBERNATE_SECS} s and look:  torpor who --base-dir \
             {}\nDeliver to it:  cp MESSAGE {}/\nCtrl-C ends everything.",
            base_dir.display(),
            self.dovecot.mailbox(&user).path().join("new").display()
        )
    }

    fn control(&self) -> PathBuf {
        control_path(&self.dovecot.base_dir())
    }

    fn wait_for_torpor(&self) -> io::Result<()> {
        let until = Instant::now() + START_WITHIN;
        loop {
            match self.stats() {
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => {
                    let log = self.dovecot.dir().join("log/torpor.log");
                    let text = std::fs::read_to_string(log).unwrap_or_default();
                    return Err(io::Error::other(format!("{error}\n{text}")));
                }
            }
        }
    }
}

/// This program anew, with its log in the folder.
fn start_torpor(dovecot: &Dovecot) -> io::Result<Process> {
    let log = dovecot.dir().join("log/torpor.log");
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" serve --base-dir "$1" 2>> "$2""#]);
    command.arg(std::env::current_exe()?).arg(dovecot.base_dir()).arg(log);
    Process::spawn(&command)
}

/// Each awake imap process has an inotify instance of the mail user, and needs two more to
/// hibernate.
fn awake_max() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances");
    let limit: u32 = limit.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(128);
    (limit.saturating_sub(8) / 3).max(1)
}

/// Seconds of idling after which Dovecot hibernates.
pub const HIBERNATE_SECS: u32 = 2;
/// Above the ranges of people and packages, below those of containers.
const MAIL_UID_FIRST: u32 = 61_184;
const MAIL_UIDS: u32 = 335;
const START_WITHIN: Duration = Duration::from_secs(10);
