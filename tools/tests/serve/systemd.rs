//! Under a service manager: what it is told, and the socket that it has bound for us.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::parts::Torpor;

/// Its socket for sd_notify(3).
pub struct Manager {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
}

impl Manager {
    pub fn start(config: &str, change: impl FnOnce(&mut Command)) -> (Self, Torpor) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let torpor = Torpor::start_with(config, |command| {
            change(command);
            command.env("NOTIFY_SOCKET", &path);
        });
        (Self { socket, _dir: dir }, torpor)
    }

    /// Reads until it is told this; returns all that it was told with it.
    pub fn hears(&self, line: &str) -> String {
        let mut bytes = [0; 1024];
        loop {
            let count = self.socket.recv(&mut bytes).unwrap_or_else(|_| panic!("no {line}"));
            let text = String::from_utf8_lossy(&bytes[..count]);
            if text.lines().any(|said| said == line) {
                return text.into_owned();
            }
        }
    }
}

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
