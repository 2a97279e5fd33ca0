//! A torpor that clients were pledged to by nobody's worker: the bench plays it.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{fstat, minor};
use tempfile::TempDir;
use torpor::dovecot::Process;
use torpor_handoff::line::HIBERNATE_VERSION;
use torpor_handoff::sys::fd::send_with_fd;

use super::binary;
use super::letter::{Random, line};
use crate::Transport;

/// A running torpor in a folder of its own. Dropping it ends it.
pub struct Pledge {
    process: Process,
    folder: TempDir,
    random: RefCell<Random>,
}

/// Both ends of a client's connection.
pub struct Pair {
    pub client: OwnedFd,
    pub server: OwnedFd,
}

impl Pair {
    /// Over loopback, or as the socketpair of a TLS login.
    ///
    /// # Errors
    /// No descriptor or no port is left.
    pub fn new(transport: Transport) -> io::Result<Self> {
        if transport == Transport::Unix {
            let (client, server) = UnixStream::pair()?;
            return Ok(Self { client: client.into(), server: server.into() });
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok(Self { client: client.into(), server: listener.accept()?.0.into() })
    }
}

impl Pledge {
    /// Starts one with room for `clients`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(clients: u32) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let config = folder.path().join("torpor.toml");
        let text = format!("[hibernate]\nconns_max = 64\n[sleep]\nslots_max = {}\n", clients + 8);
        std::fs::write(&config, text)?;
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh"]).arg(binary::release()?).arg(folder.path()).arg(&config);
        let process = Process::spawn(&command)?;
        let pledge = Self { process, folder, random: RefCell::new(Random(u64::from(clients))) };
        let deadline = Instant::now() + READY_WITHIN;
        while UnixStream::connect(pledge.socket()).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(pledge.folder.path().join("log"));
                return Err(io::Error::other(log.unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(pledge)
    }

    /// All its processes.
    pub fn family(&self) -> Vec<i32> {
        let mut family = vec![self.process.pid()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            family.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            next += 1;
        }
        family
    }

    /// Hands clients over; `watching`: each with a mailbox of its own. The clients' own ends.
    ///
    /// # Errors
    /// One was refused.
    pub fn hibernate(
        &self,
        transport: Transport,
        count: u32,
        watching: bool,
    ) -> io::Result<Vec<OwnedFd>> {
        let mut copies = Vec::new();
        let mut held = Vec::new();
        for _ in 0..count {
            let Pair { client, server } = Pair::new(transport)?;
            let notify = if watching { Some(self.mailbox()?) } else { None };
            self.hand_over(&server, notify.as_ref())?;
            held.push(client);
            copies.extend(notify);
            if copies.len() >= COPIES_MAX {
                close(&mut copies);
            }
        }
        close(&mut copies);
        // The last + is out before the engine has counted its sleeper.
        thread::sleep(SETTLE);
        Ok(held)
    }

    fn hand_over(&self, server: &OwnedFd, notify: Option<&Inotify>) -> io::Result<()> {
        let stat = fstat(server)?;
        let random = &mut self.random.borrow_mut();
        let line = line(random, stat.st_ino, minor(stat.st_dev), notify.is_some());
        let (first, rest) = line.as_bytes().split_at(1);
        let mut stream = UnixStream::connect(self.socket())?;
        stream.write_all(HIBERNATE_VERSION)?;
        let mut greeting = vec![0; HIBERNATE_VERSION.len()];
        stream.read_exact(&mut greeting)?;
        send_with_fd(stream.as_fd(), first, server.as_fd())?;
        stream.write_all(rest)?;
        plus(&mut stream)?;
        if let Some(notify) = notify {
            send_with_fd(stream.as_fd(), b"\n", notify.as_fd())?;
            plus(&mut stream)?;
        }
        Ok(())
    }

    /// Watches on a new Maildir, as an imap worker has them.
    fn mailbox(&self) -> io::Result<Inotify> {
        let number = self.random.borrow_mut().next();
        let folder = self.folder.path().join(format!("mail/{number:x}"));
        let notify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mask = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        for name in ["new", "cur"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path)?;
            // One that has just changed would wake its sleeper.
            let old = nix::sys::time::TimeVal::new(1_700_000_000, 0);
            nix::sys::stat::utimes(&path, &old, &old)?;
            notify.add_watch(&path, mask)?;
        }
        Ok(notify)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("imap-hibernate")
    }
}

fn plus(stream: &mut UnixStream) -> io::Result<()> {
    let mut buffer = [0; 512];
    let count = stream.read(&mut buffer)?;
    match buffer[..count].first() {
        Some(b'+') => Ok(()),
        _ => Err(io::Error::other(format!("answered {}", buffer[..count].escape_ascii()))),
    }
}

/// Closing an inotify instance waits for a grace period of the kernel, which threads share.
fn close(copies: &mut Vec<Inotify>) {
    thread::scope(|scope| {
        let part = copies.len().div_ceil(CLOSERS).max(1);
        while !copies.is_empty() {
            let some = copies.split_off(copies.len().saturating_sub(part));
            scope.spawn(move || drop(some));
        }
    });
}

const LAUNCH: &str = r#"ulimit -n "$(ulimit -Hn)"
exec "$1" serve --base-dir "$2" --config "$3" > "$2/log" 2>&1"#;
const READY_WITHIN: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_millis(500);
/// inotify instances that the bench has at once.
const COPIES_MAX: usize = 64;
const CLOSERS: usize = 64;
