//! A torpor beside a private Dovecot.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use torpor::dovecot::Process;

/// A running `torpor serve`. Dropping it ends it. Its log lies beside Dovecot's.
pub struct Torpor {
    process: Process,
}

impl Torpor {
    /// Starts torpor over Dovecot's `base_dir` and returns once it takes connections.
    ///
    /// # Errors
    /// It could not be started or ended early.
    pub fn start(binary: &Path, base_dir: &Path) -> io::Result<Torpor> {
        let log = base_dir.join("../log/torpor.log");
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$1" serve --base-dir "$2" 2> "$3""#, "sh"]);
        command.arg(binary).arg(base_dir).arg(&log);
        let mut process = Process::spawn(&command)?;
        let deadline = Instant::now() + READY_WITHIN;
        while UnixStream::connect(base_dir.join("imap-hibernate")).is_err() {
            if let Some(status) = process.wait(Duration::ZERO) {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!("torpor serve ended: {status}: {log}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("torpor serve opens no imap-hibernate"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Torpor { process })
    }

    /// Pid of its first process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
}

const READY_WITHIN: Duration = Duration::from_secs(10);
