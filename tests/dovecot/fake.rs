//! An imap-master of our own: a listener, and a worker process for each connection that behaves as
//! it is told. Only torpor ever meets it.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use torpor_handoff::sys::fd::receive;

/// What its workers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Accepts and says nothing.
    Silent,
    /// Ends before it has said anything.
    DiesFirst,
    /// Greets and ends.
    DiesGreeted,
    /// Takes the client and answers `-x`.
    Refuses,
    /// Takes the client and ends.
    DiesHolding,
    /// Takes the client and says nothing.
    SilentHolding,
}

impl Manner {
    /// Every manner after which torpor still owns the client.
    pub const RETRIED: [Manner; 5] = [
        Manner::Silent,
        Manner::DiesFirst,
        Manner::DiesGreeted,
        Manner::Refuses,
        Manner::DiesHolding,
    ];

    const ALL: [Manner; 6] = [
        Manner::Silent,
        Manner::DiesFirst,
        Manner::DiesGreeted,
        Manner::Refuses,
        Manner::DiesHolding,
        Manner::SilentHolding,
    ];

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A running fake in the place of `imap-master`. Dropping it ends its workers and its socket.
pub struct Fake {
    path: PathBuf,
    ends: Arc<AtomicBool>,
    workers: Arc<Mutex<Vec<Child>>>,
    listener: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn listen(path: &Path, manner: Manner) -> io::Result<Fake> {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        let (ends, workers) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (end, list) = (Arc::clone(&ends), Arc::clone(&workers));
        let listener = thread::spawn(move || serve(&listener, manner, &end, &list));
        Ok(Fake { path: path.to_path_buf(), ends, workers, listener: Some(listener) })
    }

    /// How many connections it has had.
    pub fn met(&self) -> usize {
        self.workers.lock().expect("the listener does not panic").len()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // One more connection, so that `accept` returns and sees it.
        drop(UnixStream::connect(&self.path));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        let _ = fs::remove_file(&self.path);
        for worker in self.workers.lock().expect("the listener does not panic").iter_mut() {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// A process for each connection, as Dovecot has it: its death is what torpor looks for.
fn serve(listener: &UnixListener, manner: Manner, ends: &AtomicBool, workers: &Mutex<Vec<Child>>) {
    for stream in listener.incoming().flatten() {
        if ends.load(Ordering::SeqCst) {
            return;
        }
        let program = std::env::current_exe().expect("a test knows its program");
        let mut command = Command::new(program);
        command.args(["--exact", "fake::a_worker_of_the_fake", "--nocapture"]);
        command.env(MANNER, manner.name()).stdout(Stdio::null()).stderr(Stdio::null());
        command.stdin(Stdio::from(OwnedFd::from(stream)));
        let worker = command.spawn().expect("a worker of the fake starts");
        workers.lock().expect("the listener does not panic").push(worker);
    }
}

/// The worker is this program again, so that it needs no other; as a test it does nothing.
#[test]
fn a_worker_of_the_fake() {
    let Ok(name) = std::env::var(MANNER) else { return };
    let manner = Manner::ALL.into_iter().find(|manner| manner.name() == name);
    let manner = manner.unwrap_or_else(|| panic!("{MANNER}={name}"));
    let socket = io::stdin().as_fd().try_clone_to_owned().expect("standard input is the socket");
    work(UnixStream::from(socket), manner).expect("torpor is there");
}

fn work(mut socket: UnixStream, manner: Manner) -> io::Result<()> {
    match manner {
        Manner::Silent => wait(),
        Manner::DiesFirst => return Ok(()),
        _ => socket.write_all(b"VERSION\timap-master\t1\t0\n")?,
    }
    if manner == Manner::DiesGreeted {
        return Ok(());
    }
    let client = take(&socket)?;
    match manner {
        Manner::Refuses => {
            drop(client);
            socket.write_all(b"-x\n")?;
            // Until torpor hangs up.
            socket.read_to_end(&mut Vec::new()).map(drop)
        }
        Manner::SilentHolding => {
            wait();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Reads the request to its end and keeps the client that came with it.
fn take(socket: &UnixStream) -> io::Result<OwnedFd> {
    let (mut bytes, mut client) = (Vec::new(), None);
    while bytes.iter().filter(|byte| **byte == b'\n').count() < 2 || client.is_none() {
        let mut buffer = [0; 4096];
        match receive(socket.as_fd(), &mut buffer) {
            Ok(mut received) if received.count > 0 => {
                client = client.or(received.passed.fds[0].take());
                bytes.extend_from_slice(&buffer[..received.count]);
            }
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(nix::errno::Errno::EAGAIN) => thread::sleep(Duration::from_millis(1)),
            Err(errno) => return Err(errno.into()),
        }
    }
    client.ok_or_else(|| io::Error::other("no client came"))
}

fn wait() {
    thread::sleep(Duration::from_secs(600));
}

const MANNER: &str = "TORPOR_FAKE_MANNER";
