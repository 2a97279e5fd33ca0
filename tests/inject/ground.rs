//! A torpor of its own, and an imap-master beside it whose workers take whom they get.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor_handoff::line::{MASTER_VERSION, MasterRequest};
use torpor_handoff::sys::fd::receive;

/// Dropping it ends torpor; what lies in the folder goes with the run.
pub struct Ground {
    child: Child,
    binary: PathBuf,
    pub folder: PathBuf,
    /// Users whom a worker has taken.
    pub taken: Receiver<String>,
}

impl Ground {
    /// In a folder of this name.
    pub fn start(name: &str) -> Self {
        let binary = std::env::var_os("TORPOR_BIN").expect("TORPOR_BIN names torpor");
        let folder = std::env::temp_dir().join(format!("torpor-{name}.{}", std::process::id()));
        fs::create_dir_all(folder.join("run")).expect("base_dir");
        fs::create_dir_all(folder.join("new")).expect("a mailbox");
        fs::write(folder.join("toml"), CONFIG).expect("a configuration");
        let listener = UnixListener::bind(folder.join("run/imap-master")).expect("a socket");
        let (send, taken) = channel();
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| {
                // Whom torpor does not get to the end with, it keeps.
                let _ = work(stream, &send);
            })
        });
        let log = fs::File::create(folder.join("log")).expect("a log");
        let mut command = Command::new(&binary);
        command.arg("serve").arg("--config").arg(folder.join("toml"));
        command.arg("--base-dir").arg(folder.join("run")).stdin(Stdio::null()).stderr(log);
        let child = command.spawn().expect("torpor starts");
        let ground = Self { child, binary: binary.into(), folder, taken };
        eventually("torpor listens", || ground.counter("asleep").is_some());
        ground
    }

    /// The engine's, as soon as it answers.
    pub fn pid(&self) -> u32 {
        let mut pid = None;
        eventually("the engine answers", || {
            pid = self.stats().and_then(|stats| stats["engines"][0]["pid"].as_u64());
            pid.is_some()
        });
        pid.expect("seen above") as u32
    }

    /// The pid of the engine's watcher, as soon as one runs.
    pub fn watcher_pid(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let mut pid = None;
        eventually("a watcher runs", || {
            let children = fs::read_to_string(&path).expect("torpor lives");
            let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            pid = pids.find(|pid: &u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).nth(1) == Some(b"watcher")
            });
            pid.is_some()
        });
        pid.expect("seen above")
    }

    /// True exactly when another engine answers than that of this pid.
    pub fn is_gone(&self, pid: u32) -> bool {
        self.pid() != pid
    }

    /// One of torpor's counters; `None` when it does not answer.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.stats()?["counters"][name].as_u64()
    }

    fn stats(&self) -> Option<serde_json::Value> {
        let mut command = Command::new(&self.binary);
        command.args(["stats", "--json", "--base-dir"]).arg(self.folder.join("run"));
        let output = command.stdin(Stdio::null()).output().expect("torpor starts");
        let text = output.status.success().then_some(output.stdout)?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    /// How many descriptors torpor has open, but for those with which it watches workers.
    pub fn descriptors(&self) -> usize {
        self.open(|what| !what.contains("pidfd"))
    }

    /// The same once they stay as they are: the end of a life is told before the last is closed.
    pub fn descriptors_at_rest(&self) -> usize {
        let mut before = self.descriptors();
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let after = self.descriptors();
            if std::mem::replace(&mut before, after) == after {
                return after;
            }
        }
    }

    /// How many workers it watches. A worker here is this process, which does not end, so they stay
    /// until others take their places.
    fn workers(&self) -> usize {
        self.open(|what| what.contains("pidfd"))
    }

    fn open(&self, counts: impl Fn(&str) -> bool) -> usize {
        let all = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("torpor lives");
        // One that was closed meanwhile has no name.
        let names = all.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        names.filter(|name| counts(&name.to_string_lossy())).count()
    }

    /// After a life nothing of it is left, and nobody was lost in it.
    pub fn settle(&mut self, open: usize, when: &str) {
        assert_eq!(self.child.try_wait().expect("our child"), None, "{when}: torpor has ended");
        eventually(&format!("{when}: no more than {open} descriptors"), || {
            self.descriptors() <= open
        });
        assert!(self.workers() <= WORKERS_MAX, "{when}: {} workers", self.workers());
        let names =
            ["lost", "given_up", "asleep", "in_flight", "conns", "mailboxes", "cold_blocks_used"];
        let figures = || names.map(|name| (name, self.counter(name)));
        eventually(&format!("{when}: nothing is left of {:?}", figures()), || {
            figures().iter().all(|(_, figure)| *figure == Some(0))
        });
        assert!(self.taken.try_recv().is_err(), "{when}: somebody was taken twice");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let engine = self.stats().and_then(|stats| stats["engines"][0]["pid"].as_i64());
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(pid) = engine {
            // It would go on without its keeper.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("torpor's log:\n{log}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One worker: takes the client, says so, and says its name to the client.
fn work(mut stream: UnixStream, taken: &Sender<String>) -> std::io::Result<()> {
    stream.write_all(MASTER_VERSION)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut version = [0; MASTER_VERSION.len()];
    stream.read_exact(&mut version)?;
    let (line, client) = request(&stream)?;
    let request = MasterRequest::parse(line.strip_suffix(b"\n").expect("a whole line"));
    let user = String::from_utf8_lossy(request.expect("a request").line.username).into_owned();
    stream.write_all(b"+\n")?;
    UnixStream::from(client).write_all(user.as_bytes())?;
    taken.send(user).map_err(std::io::Error::other)
}

fn request(stream: &UnixStream) -> std::io::Result<(Vec<u8>, OwnedFd)> {
    let (mut line, mut client, mut buffer) = (Vec::new(), None, [0; 4096]);
    while line.last() != Some(&b'\n') {
        let mut readable = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut readable, PollTimeout::from(10_000u16))?;
        let mut received = match receive(stream.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => return Err(std::io::ErrorKind::TimedOut.into()),
            other => other?,
        };
        if received.count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&buffer[..received.count]);
        client = client.or(received.passed.fds[0].take());
    }
    client.map(|client| (line, client)).ok_or_else(|| std::io::Error::other("no client came"))
}

/// Looks again and again until it is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "it never came to be that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub const PATIENCE: Duration = Duration::from_secs(30);
const WORKERS_MAX: usize = 4;
/// Nobody has time to wait for long, nor to doze.
const CONFIG: &str = "[hibernate]\nlate_change_ms = 0\n[sleep]\ndoze_secs = 0\n\
    [wake]\nversion_timeout_ms = 2000\nack_timeout_ms = 5000\nworkers_max = 4\n";
