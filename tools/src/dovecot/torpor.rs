//! A torpor that runs beside a private Dovecot, as a process of its own.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::process::Process;
use super::server::Dovecot;

/// A running `torpor serve`. Dropping it ends it.
#[derive(Debug)]
pub struct Torpor {
    process: Process,
    binary: PathBuf,
    dir: PathBuf,
}

impl Torpor {
    /// Starts `binary serve` on the sockets of `dovecot`, with this configuration text, and
    /// returns once it answers on `imap-hibernate`.
    ///
    /// # Errors
    /// The binary is missing or ends early; then the error holds the end of its log.
    pub fn start(binary: &Path, dovecot: &Dovecot, config: &str) -> io::Result<Torpor> {
        if !binary.exists() {
            let text = format!("no torpor at {}: cargo build --release", binary.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let dir = dovecot.dir().to_path_buf();
        let config_path = dir.join("etc/torpor.toml");
        std::fs::write(&config_path, config)?;
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh"]).arg(dir.join("log/torpor.log")).arg(binary);
        command.args(["serve", "--base-dir"]).arg(dir.join("run"));
        command.arg("--config").arg(config_path);
        let process = Process::spawn(&command)?;
        let mut torpor = Torpor { process, binary: binary.to_path_buf(), dir };
        torpor.wait_until_ready()?;
        Ok(torpor)
    }

    /// Runs one of its control commands, such as `who --json`, and returns what it printed.
    ///
    /// # Errors
    /// It failed; the error holds what it said.
    pub fn control(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--base-dir").arg(self.dir.join("run"));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(io::Error::other(format!("torpor {arguments:?}: {said}{complaint}")))
    }

    /// Sends a signal to its main process, the keeper.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Pid of its main process, the keeper.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.wait(Duration::ZERO).is_none()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.dir.join("log/torpor.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !greets(&self.dir.join("run/imap-hibernate")) {
            let ended = self.process.wait(Duration::from_millis(10)).is_some();
            if ended || Instant::now() > deadline {
                let what = if ended { "ended while it was starting" } else { "is not ready" };
                return Err(io::Error::other(format!("torpor {what}:\n{}", self.log())));
            }
        }
        Ok(())
    }
}

/// The hibernate side speaks first, so a greeting proves that somebody serves the socket.
pub(crate) fn greets(path: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(path) else { return false };
    let mut greeting = [0; 7];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"VERSION"
}

const LAUNCH: &str = r#"
ulimit -n "$(ulimit -Hn)"
log=$1
shift
exec "$@" < /dev/null > "$log" 2>&1
"#;

const READY_WITHIN: Duration = Duration::from_secs(10);
