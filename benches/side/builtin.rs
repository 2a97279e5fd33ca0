//! A `torpor serve --maildir` of its own in a temporary folder.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use torpor::dovecot::{Options, Process};
use torpor::front::hash::{Cost, Hash};

/// A running torpor with users `u00001`, ... and the password `pw`. Dropping it ends it.
pub struct Builtin {
    process: Process,
    pub address: SocketAddr,
    dir: TempDir,
}

impl Builtin {
    /// Starts it; a worker hands its client over after one second of idling.
    ///
    /// # Errors
    /// It did not start; then the error holds its log.
    pub fn start(binary: &Path, users: u32, engines: u32) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("torpor-load.").tempdir()?;
        let place = |name: &str| dir.path().join(name);
        // Each hash of its own would only cost time before anything is measured.
        let hash = Hash::make(b"pw", Cost::Low);
        let mut text = String::new();
        for number in 1..=users {
            writeln!(text, "{}:{}", Options::user(number), hash.as_str())
                .map_err(io::Error::other)?;
        }
        std::fs::write(place("users"), text)?;
        std::fs::create_dir(place("mail"))?;
        let config = format!(
            "engines = {engines}\n[front]\n\
             hibernate_after_ms = 1000\nconns_per_address_max = 1024\n"
        );
        std::fs::write(place("torpor.toml"), config)?;
        let address = free_address()?;
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh"]).arg(place("log")).arg(binary);
        command.args(["serve", "--config"]).arg(place("torpor.toml"));
        command.arg("--maildir").arg(place("mail")).arg("--users").arg(place("users"));
        command.args(["--listen", &address.to_string()]);
        let process = Process::spawn(&command)?;
        let mut builtin = Self { process, address, dir };
        builtin.wait_until_ready()?;
        Ok(builtin)
    }

    /// Pid of its first process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Where `torpor load --maildir` delivers.
    pub fn maildir(&self) -> String {
        format!("{}/mail/{{user}}", self.dir.path().display())
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("mail/.torpor/torpor.sock")
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(self.address).is_err() || !self.socket().exists() {
            let ended = self.process.wait(Duration::ZERO).is_some();
            if ended || Instant::now() > deadline {
                let what = if ended { "ended early" } else { "is not ready" };
                return Err(io::Error::other(format!("torpor serve {what}: {}", self.log())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// One that is free now, below the ports that outgoing connections take.
fn free_address() -> io::Result<SocketAddr> {
    let first = 12_000 + (std::process::id() % 7_000) as u16;
    let ports = (first..first + 1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let free = ports.into_iter().find(|address| TcpListener::bind(address).is_ok());
    free.ok_or_else(|| io::Error::other("no port is free"))
}

const LAUNCH: &str = r#"
ulimit -n "$(ulimit -Hn)"
log=$1
shift
exec "$@" < /dev/null > "$log" 2>&1
"#;

const READY_WITHIN: Duration = Duration::from_secs(20);
