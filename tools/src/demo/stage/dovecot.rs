//! Dovecot, with torpor in the place of its imap-hibernate.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{HIBERNATE_SECS, Stage, check_files};
use crate::dovecot::{Dovecot, Endpoint, Mailbox, Options, Process, Version, raise_open_files};

/// A private Dovecot with torpor beside it.
pub struct DovecotStage {
    /// Ends before Dovecot does, so that its sleepers get their BYE.
    torpor: Process,
    dovecot: Dovecot,
    awake_max: u32,
    clients: u32,
}

impl DovecotStage {
    /// Starts both. The user after the last client is the reader's own.
    ///
    /// # Errors
    /// No Dovecot is installed (the error says how to), this is not root, or a server does not
    /// start.
    pub fn set(clients: u32) -> io::Result<Self> {
        let version = Version::installed()?;
        check_files(clients, 4, raise_open_files())?;
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

impl Stage for DovecotStage {
    fn endpoint(&self) -> Endpoint {
        self.dovecot.endpoint(false)
    }

    fn mailbox(&self, user: &str) -> Mailbox {
        self.dovecot.mailbox(user)
    }

    fn worker_pids(&self) -> Vec<i32> {
        self.dovecot.imap_pids()
    }

    fn torpor_pids(&self) -> Vec<i32> {
        let mut pids = self.torpor.descendants();
        pids.push(self.torpor.pid());
        pids
    }

    fn base_dir(&self) -> PathBuf {
        self.dovecot.base_dir()
    }

    fn awake_max(&self) -> u32 {
        self.awake_max
    }

    fn hint(&self) -> &'static str {
        match self.dovecot.log().contains("Inotify instance limit") {
            true => INOTIFY_HINT,
            false => "",
        }
    }

    fn invitation(&self) -> String {
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

/// Above the ranges of people and packages, below those of containers.
const MAIL_UID_FIRST: u32 = 61_184;
const MAIL_UIDS: u32 = 335;
const START_WITHIN: Duration = Duration::from_secs(10);
const INOTIFY_HINT: &str = ": Dovecot had no inotify instance left for them; type \
                            sysctl fs.inotify.max_user_instances=8192";
