//! A torpor of its own that clients are pledged to by a worker that we play.

use std::io;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use torpor_load::stand_in::worker::Worker;

use crate::config::{Config, ConfigError};
use crate::dovecot::{Process, greets};

/// A running torpor in a folder of its own. Dropping it ends it.
pub struct Pledge {
    process: Process,
    folder: TempDir,
    pub worker: Worker,
}

/// What it is to be.
#[derive(Clone, Debug)]
pub struct Terms {
    pub config: Config,
    /// It has room for so many.
    pub clients: u32,
    pub keepalive_secs: u32,
}

impl Terms {
    /// `lines`: of the section `[sleep]`, without its head, and of others after it.
    ///
    /// # Errors
    /// They are no configuration.
    pub fn new(lines: &str, clients: u32, keepalive_secs: u32) -> Result<Self, ConfigError> {
        let config = Config::parse(Path::new("[sleep]"), &format!("[sleep]\n{lines}"))?;
        Ok(Self { config, clients, keepalive_secs })
    }
}

impl Pledge {
    /// Starts one from this binary.
    ///
    /// # Errors
    /// It does not start. [`io::ErrorKind::Unsupported`]: not with such a configuration, and the
    /// error holds what it says of it.
    pub fn start(binary: &Path, terms: &Terms) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let file = folder.path().join("torpor.toml");
        let mut config = terms.config.clone();
        config.base_dir = folder.path().to_owned();
        config.hibernate.conns_max = CONNS_MAX;
        config.sleep.slots_max = Some(terms.clients + SPARE_SLOTS);
        std::fs::write(&file, toml::to_string(&config).map_err(io::Error::other)?)?;
        let mut check = Command::new(binary);
        let checked = check.args(["serve", "--check", "--config"]).arg(&file).output()?;
        if !checked.status.success() {
            return Err(unsupported(&refusal(&checked)));
        }
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh"]).arg(binary).arg(folder.path()).arg(&file);
        let process = Process::spawn(&command)?;
        let worker = Worker::new(folder.path().join("imap-hibernate"), terms.keepalive_secs);
        let pledge = Self { process, folder, worker };
        pledge.wait_until_ready()?;
        // It starts without what the kernel does not give, and says so.
        let log = pledge.log()?;
        let lacks = |line: &&str| line.contains("set dense = false") || line.contains("be marked");
        log.lines().find(lacks).map_or(Ok(pledge), |line| Err(unsupported(line)))
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

    fn wait_until_ready(&self) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !greets(&self.base_dir().join("imap-hibernate")) {
            if Instant::now() > deadline {
                return Err(io::Error::other(self.log()?));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn log(&self) -> io::Result<String> {
        std::fs::read_to_string(self.base_dir().join("log"))
    }
}

/// What `torpor serve --check` has against it.
fn refusal(checked: &Output) -> String {
    let text = String::from_utf8_lossy(&checked.stdout);
    match text.lines().find_map(|line| line.strip_prefix("# refused: ")) {
        Some(line) => line.to_owned(),
        None => String::from_utf8_lossy(&checked.stderr).trim_end().to_owned(),
    }
}

fn unsupported(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, line)
}

const LAUNCH: &str = r#"ulimit -n "$(ulimit -Hn)"
exec "$1" serve --config "$3" > "$2/log" 2>&1"#;
const READY_WITHIN: Duration = Duration::from_secs(20);
/// We offer one client at a time.
const CONNS_MAX: u32 = 64;
/// For clients that come before anything is measured.
const SPARE_SLOTS: u32 = 8;
