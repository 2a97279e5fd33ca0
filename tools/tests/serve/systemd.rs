//! Under a service manager: what it is told, and the socket that it has bound for us.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor_handoff::sys::fd;

use crate::parts::{Torpor, eventually};

/// Its socket for sd_notify(3), and the sockets that it was given to keep.
pub struct Manager {
    socket: UnixDatagram,
    stored: RefCell<Vec<(String, OwnedFd)>>,
    _dir: tempfile::TempDir,
}

impl Manager {
    pub fn start(config: &str, change: impl FnOnce(&mut Command)) -> (Self, Torpor) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let torpor = Torpor::start_with(config, |command| {
            change(command);
            command.env("NOTIFY_SOCKET", &path);
        });
        (Self { socket, stored: RefCell::default(), _dir: dir }, torpor)
    }

    /// Reads until it is told this; returns all that it was told with it.
    pub fn hears(&self, line: &str) -> String {
        let mut told = Vec::new();
        eventually(&format!("systemd is told {line}"), || {
            told = self.next();
            told.iter().any(|said| said == line)
        });
        told.join("\n")
    }

    /// What it is told next, if it is told something.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 1024];
        let Ok(mut received) = fd::receive(self.socket.as_fd(), &mut bytes) else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&bytes[..received.count]).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME="));
        if let Some(name) = name {
            let mut stored = self.stored.borrow_mut();
            match received.passed.fds[0].take() {
                Some(socket) if lines.contains(&"FDSTORE=1".to_owned()) => {
                    stored.push((name.to_owned(), socket));
                }
                _ if lines.contains(&"FDSTOREREMOVE=1".to_owned()) => {
                    stored.retain(|(other, _)| other != name);
                }
                _ => panic!("{lines:?}"),
            }
        }
        lines
    }

    /// Names of what it keeps.
    fn keeps(&self) -> Vec<String> {
        while !self.next().is_empty() {}
        self.stored.borrow().iter().map(|(name, _)| name.clone()).collect()
    }

    /// Starts the main process again, with what was stored (sd_listen_fds(3)), as systemd does when
    /// it has died. Nobody else was told to end (`KillMode=process`).
    fn start_again(&self, torpor: &Torpor) {
        let names = self.keeps().join(":");
        torpor.succeed_with(|command| {
            let mut shell = Command::new("sh");
            let script = r#"LISTEN_PID=$$ exec "$@""#;
            shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
            let stored = self.stored.borrow();
            let mapping = |(number, (_, socket)): (usize, &(String, OwnedFd))| FdMapping {
                parent_fd: socket.try_clone().expect("a descriptor"),
                child_fd: 3 + number as i32,
            };
            let mappings = stored.iter().enumerate().map(mapping).collect();
            shell.fd_mappings(mappings).expect("numbers of their own");
            shell.env("LISTEN_FDS", stored.len().to_string()).env("LISTEN_FDNAMES", names);
            shell.env("NOTIFY_SOCKET", self._dir.path().join("notify"));
            *command = shell;
        });
    }
}

#[test]
fn engines_stay_when_systemd_starts_the_main_process_again() {
    let (manager, torpor) = Manager::start("", |_| {});
    manager.hears("READY=1");
    let names = ["torpor-hibernate", "torpor-control"];
    eventually("systemd keeps the sockets", || manager.keeps() == names);
    let mut ann = torpor.hibernate("ann", "s1");
    let engines = torpor.engine_pids();
    torpor.signal(Signal::SIGKILL);
    manager.start_again(&torpor);
    manager.hears("READY=1");
    assert_eq!(torpor.engine_pids(), engines, "it has noticed nothing");
    ann.write_all(b"DONE\r\nb IDLE\r\n").expect("sent");
    let expected = b"a1 OK Idle completed.\r\n+ idling\r\n";
    let mut answer = vec![0; expected.len()];
    ann.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, expected);
}

/// Keeper and engine in the same instant: the sleepers are lost, but who comes then waits in a
/// queue that systemd has kept.
#[test]
fn the_queue_outlives_keeper_and_engine() {
    let (manager, torpor) = Manager::start("", |_| {});
    manager.hears("READY=1");
    eventually("systemd keeps the sockets", || manager.keeps().len() == 2);
    let mut ann = torpor.hibernate("ann", "s1");
    let engine = torpor.engine_pids()[0];
    torpor.signal(Signal::SIGKILL);
    torpor.signal_pid(&engine.to_string(), Signal::SIGKILL);
    assert_eq!(ann.read(&mut [0]).expect("an end"), 0, "nobody holds her");
    torpor.wait();
    thread::scope(|scope| {
        let path = torpor.dir().join("imap-hibernate");
        let mut waiting = UnixStream::connect(path).expect("nobody is refused");
        let asks = scope.spawn(move || {
            waiting.write_all(HELLO).expect("sent");
            let mut hello = vec![0; HELLO.len()];
            waiting.read_exact(&mut hello).map(|()| hello)
        });
        manager.start_again(&torpor);
        let hello = asks.join().expect("no panic").expect("who has waited is heard");
        assert_eq!(hello, HELLO);
    });
    let _bob = torpor.hibernate("bob", "s2");
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
    assert_eq!(manager.keeps(), [""; 0], "nobody shall connect any more");
}

/// What the test above does is what this unit lets systemd do.
#[test]
fn the_unit_lets_engines_outlive_the_main_process() {
    let unit = include_str!("../../torpor.service");
    let lines: Vec<&str> = unit.lines().collect();
    for line in ["KillMode=process", "Restart=on-failure", "NotifyAccess=main"] {
        assert!(lines.contains(&line), "{line} is missing");
    }
    let words = |key: &str| {
        let values = lines.iter().filter_map(|line| line.strip_prefix(key));
        values.flat_map(str::split_whitespace).collect::<Vec<_>>()
    };
    assert!(words("CapabilityBoundingSet=").contains(&"CAP_SYS_PTRACE"));
    assert!(words("SystemCallFilter=").contains(&"pidfd_getfd"));
    let most: usize = words("FileDescriptorStoreMax=")[0].parse().expect("a number");
    assert!(most >= 5, "hibernate, control, metrics, and two of the front");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("torpor.service");
    let installed = unit.replace("/usr/local/sbin/torpor", "/bin/true");
    std::fs::write(&path, installed).expect("written");
    match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        Ok(said) => assert!(said.status.success() && said.stderr.is_empty(), "{said:?}"),
        Err(_) => println!("NOT TESTED: what systemd says of the unit, which is not there"),
    }
}

/// A program that dies again and again is no reason to end the one that holds its clients.
#[test]
fn the_watchdog_is_fed_while_an_engine_rests() {
    let (manager, torpor) = Manager::start("", |_| {});
    manager.hears("READY=1");
    let _ann = torpor.hibernate("ann", "s1");
    let told_of_none = |line: &str| {
        eventually(&format!("systemd is told {line}"), || {
            for engine in torpor.pids("engine") {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(engine as i32), Signal::SIGKILL);
            }
            let told = manager.next();
            assert!(!told.contains(&"STATUS=1 of 1 engines answer".to_owned()) || line != FED);
            told.iter().any(|said| said == line)
        });
    };
    told_of_none("STATUS=0 of 1 engines answer");
    told_of_none(FED);
    manager.hears("STATUS=1 of 1 engines answer");
    assert_eq!(torpor.json(&["stats"])["counters"]["asleep"], 1, "{}", torpor.log());
}

const FED: &str = "WATCHDOG=1";

#[test]
fn systemd_hears_of_start_reload_trouble_and_end() {
    let (manager, torpor) = Manager::start("engines = 2\n", |_| {});
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    manager.hears("STATUS=2 of 2 engines answer");
    torpor.signal(Signal::SIGHUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    let engine = torpor.engine_pids()[0].to_string();
    torpor.signal_pid(&engine, Signal::SIGSTOP);
    manager.hears("STATUS=1 of 2 engines answer");
    torpor.signal_pid(&engine, Signal::SIGCONT);
    manager.hears("STATUS=2 of 2 engines answer");
    manager.hears("WATCHDOG=1");
    torpor.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(torpor.wait().success());
}

#[test]
fn a_socket_of_systemd_is_used_and_left_to_it() {
    let (manager, torpor) = Manager::start("", |command| {
        let dir = command.get_args().last().expect("its base_dir").to_owned();
        let path = std::path::Path::new(&dir).join("imap-hibernate");
        let listener = OwnedFd::from(UnixListener::bind(path).expect("bound by systemd"));
        let mut shell = Command::new("sh");
        let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 < /dev/null"#;
        shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::from(listener));
        *command = shell;
    });
    manager.hears("READY=1");
    let path = torpor.dir().join("imap-hibernate");
    let _ann = torpor.hibernate("ann", "s1");
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
    assert!(path.exists(), "whose it is takes it away");
}

const HELLO: &[u8] = b"VERSION\timap-hibernate\t1\t0\n";
