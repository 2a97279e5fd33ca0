//! A running torpor in a folder of its own.

mod worker;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use worker::TOKEN;

/// A client's end, whatever socket it is.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub type Peer = Box<dyn Stream>;

/// `torpor serve`. Dropping it ends it.
pub struct Torpor {
    child: RefCell<Child>,
    dir: TempDir,
}

impl Torpor {
    /// Started with a configuration, up and listening; its log goes to a file.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    /// The same with changes to the command.
    pub fn start_with(config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::Builder::new().prefix("torpor-").tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("run")).expect("base_dir");
        let log = log_in(dir.path());
        std::fs::write(dir.path().join("toml"), config).expect("a configuration");
        let mut command = command(dir.path());
        command.stdin(Stdio::null()).stderr(log).env(MARK, dir.path());
        change(&mut command);
        let child = RefCell::new(command.spawn().expect("torpor starts"));
        let torpor = Self { child, dir };
        eventually("torpor listens", || torpor.try_json(&["stats"]).is_some());
        torpor
    }

    /// Waits for the keeper's end, however it came, and starts another.
    pub fn succeed(&self) {
        self.succeed_with(|_| {});
    }

    /// The same with changes to the command.
    pub fn succeed_with(&self, change: impl FnOnce(&mut Command)) {
        self.start_again_with(change);
        self.is_known_within(PATIENCE);
    }

    /// The same, without waiting until it serves.
    pub fn start_again(&self) {
        self.start_again_with(|_| {});
    }

    fn start_again_with(&self, change: impl FnOnce(&mut Command)) {
        self.wait();
        let mut command = command(self.dir.path());
        change(&mut command);
        command.stdin(Stdio::null()).stderr(log_in(self.dir.path())).env(MARK, self.dir.path());
        *self.child.borrow_mut() = command.spawn().expect("torpor starts");
    }

    /// Waits until the engines say that this keeper is theirs.
    pub fn is_known_within(&self, time: Duration) {
        eventually_within(time, "the new keeper is known", || {
            self.try_json(&["stats"]).is_some_and(|stats| stats["pid"] == self.pid())
        });
    }

    /// How many processes there are, keeper, engines and all.
    pub fn processes(&self) -> usize {
        marked(self.dir.path()).len()
    }

    /// Those with this subcommand, whoever's children they are.
    pub fn pids(&self, subcommand: &str) -> Vec<u32> {
        let is_one = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(1) == Some(subcommand.as_bytes())
        };
        marked(self.dir.path()).into_iter().filter(is_one).map(|pid| pid as u32).collect()
    }

    /// The folder that is Dovecot's base_dir.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn control(&self) -> PathBuf {
        self.dir().join("torpor.sock")
    }

    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Of the engines that answer, in their order.
    pub fn engine_pids(&self) -> Vec<u32> {
        let stats = self.json(&["stats"]);
        let engines = stats["engines"].as_array().expect("a list");
        engines.iter().map(|engine| engine["pid"].as_u64().expect("a pid") as u32).collect()
    }

    pub fn take_stderr(&mut self) -> ChildStderr {
        self.child.get_mut().stderr.take().expect("a pipe")
    }

    /// Another torpor for the same folder, until it ends.
    pub fn again(&self) -> Output {
        command(self.dir.path()).output().expect("torpor starts")
    }

    /// Writes another configuration.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.dir.path().join("toml"), config).expect("written");
    }

    pub fn signal(&self, signal: Signal) {
        self.signal_pid(&self.pid().to_string(), signal);
    }

    pub fn signal_pid(&self, pid: &str, signal: Signal) {
        let pid = Pid::from_raw(pid.parse().expect("a pid"));
        kill(pid, signal).expect("it lives");
    }

    /// Waits for its end.
    pub fn wait(&self) -> ExitStatus {
        let mut status = None;
        eventually("torpor has ended", || {
            status = self.child.borrow_mut().try_wait().expect("our child");
            status.is_some()
        });
        status.expect("seen above")
    }

    /// Waits for a line of the log with both words and returns what stands between them;
    /// no second word: what stands behind the first.
    pub fn logged(&self, before: &str, after: &str) -> String {
        let mut found = None;
        eventually(&format!("{before} ... {after} is logged"), || {
            found = self.log().lines().find_map(|line| {
                let rest = line.split_once(before)?.1;
                let end = if after.is_empty() { rest.len() } else { rest.find(after)? };
                Some(rest[..end].to_owned())
            });
            found.is_some()
        });
        found.expect("seen above")
    }

    /// All that was logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("the log")
    }

    /// All lines of a log of JSON.
    pub fn log_json(&self) -> Vec<serde_json::Value> {
        self.log().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What one of torpor's own commands prints with `--json`.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.ask(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "torpor {arguments:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn try_json(&self, arguments: &[&str]) -> Option<serde_json::Value> {
        let output = self.ask(arguments);
        let text = output.status.success().then_some(output.stdout)?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_torpor"))
            .args(arguments)
            .args(["--json", "--base-dir"])
            .arg(self.dir())
            .output()
            .expect("torpor starts")
    }
}

impl Drop for Torpor {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
        // Engines, front and workers go on without their keeper.
        for pid in marked(self.dir.path()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("{log}");
        }
        let tells = !std::thread::panicking() && log.contains(TOKEN);
        assert!(!tells, "the log holds a token:\n{log}");
    }
}

/// One log of all: who was started by one keeper and who by the next write behind each other.
fn log_in(dir: &Path) -> File {
    let log = OpenOptions::new().create(true).append(true).open(dir.join("log"));
    log.expect("a log")
}

/// Processes that descend from a torpor that was started with this mark.
fn marked(dir: &Path) -> Vec<i32> {
    let mark = format!("{MARK}={}", dir.display());
    let entries = std::fs::read_dir("/proc").expect("procfs").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_one = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    };
    pids.filter(is_one).collect()
}

pub const PATIENCE: Duration = Duration::from_secs(10);
const MARK: &str = "TORPOR_TEST_DIR";

/// Looks again and again until it is so, for at most ten seconds.
pub fn eventually(what: &str, so: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, so);
}

fn eventually_within(time: Duration, what: &str, so: impl FnMut() -> bool) {
    assert!(comes_true(time, so), "it never came to be that {what}");
}

/// True when it is so within this time.
pub fn comes_true(time: Duration, mut so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + time;
    while !so() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// The bigger sizes, see docs/TESTING.md.
pub fn nightly() -> bool {
    std::env::var_os("TORPOR_NIGHTLY").is_some()
}

/// What the metrics endpoint at this address says.
pub fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the endpoint");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

/// `torpor serve` on what lies in a folder.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    command.arg("serve").arg("--config").arg(dir.join("toml"));
    command.arg("--base-dir").arg(dir.join("run"));
    command
}
