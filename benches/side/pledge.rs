//! A torpor that clients are pledged to by nobody's worker: the bench plays it.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use torpor::dovecot::Process;

use super::binary;
use super::worker::Worker;

/// A running torpor in a folder of its own. Dropping it ends it.
pub struct Pledge {
    process: Process,
    folder: TempDir,
    pub worker: Worker,
}

/// What it is to be.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Lines of its configuration, the section `[sleep]` first and without its head.
    pub config: String,
    pub clients: u32,
    pub keepalive_secs: u32,
}

impl Pledge {
    /// Starts one with room for the clients.
    ///
    /// # Errors
    /// It does not start. [`io::ErrorKind::Unsupported`]: it knows no such configuration, and the
    /// error holds what it says of it.
    pub fn start(terms: &Terms) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let config = folder.path().join("torpor.toml");
        let slots = terms.clients + SPARE_SLOTS;
        let text = format!("[hibernate]\nconns_max = 64\n[sleep]\nslots_max = {slots}\n");
        std::fs::write(&config, text + &terms.config)?;
        let binary = binary::release()?;
        let mut check = Command::new(&binary);
        check.args(["serve", "--check", "--config"]).arg(&config);
        let checked = check.arg("--base-dir").arg(folder.path()).output()?;
        if !checked.status.success() {
            let text = String::from_utf8_lossy(&checked.stderr);
            let first = text.lines().next().unwrap_or_default().to_owned();
            return Err(io::Error::new(io::ErrorKind::Unsupported, first));
        }
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh"]).arg(binary).arg(folder.path()).arg(&config);
        let process = Process::spawn(&command)?;
        let worker = Worker::new(folder.path().join("imap-hibernate"), terms.keepalive_secs);
        let pledge = Self { process, folder, worker };
        let deadline = Instant::now() + READY_WITHIN;
        while UnixStream::connect(pledge.base_dir().join("imap-hibernate")).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(pledge.base_dir().join("log"));
                return Err(io::Error::other(log.unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // It starts without what the kernel does not give, and says so.
        let log = std::fs::read_to_string(pledge.base_dir().join("log"))?;
        let lacks = |line: &&str| line.contains("set dense = false") || line.contains("be marked");
        match log.lines().find(lacks) {
            Some(line) => Err(io::Error::new(io::ErrorKind::Unsupported, line)),
            None => Ok(pledge),
        }
    }

    /// Where its sockets are, and where it looks for imap-master.
    pub fn base_dir(&self) -> &Path {
        self.folder.path()
    }

    /// All its processes.
    pub fn family(&self) -> Vec<i32> {
        let mut family = vec![self.process.pid()];
        family.extend(self.process.descendants());
        family
    }
}

const LAUNCH: &str = r#"ulimit -n "$(ulimit -Hn)"
exec "$1" serve --base-dir "$2" --config "$3" > "$2/log" 2>&1"#;
const READY_WITHIN: Duration = Duration::from_secs(20);
/// For clients that come before anything is measured.
const SPARE_SLOTS: u32 = 8;
