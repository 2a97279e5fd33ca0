//! imap-master, out of order in several ways.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::sys::fd::receive;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No socket (ENOENT).
    Absent,
    /// A socket that nobody listens on (ECONNREFUSED).
    Deaf,
    /// It takes connections and never says a word.
    Silent,
    /// It takes the client and answers `-`, as a worker that will not have it.
    Refusing,
    /// It greets and ends before it takes the client.
    DyingBefore,
    /// It takes the client and ends without an answer.
    DyingAfter,
}

impl Fault {
    pub const ALL: [Fault; 6] = [
        Fault::Absent,
        Fault::Deaf,
        Fault::Silent,
        Fault::Refusing,
        Fault::DyingBefore,
        Fault::DyingAfter,
    ];

    /// How the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Absent => "no socket",
            Fault::Deaf => "connection refused",
            Fault::Silent => "silent before it takes the client",
            Fault::Refusing => "takes the client, answers -",
            Fault::DyingBefore => "ends before it takes the client",
            Fault::DyingAfter => "ends after it took the client",
        }
    }
}

/// A faulty imap-master in the place of the real one.
pub struct Outage {
    path: PathBuf,
    aside: PathBuf,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Outage {
    /// Puts the real socket aside and the faulty one in its place.
    ///
    /// # Errors
    /// Dovecot has no such socket, or its folder cannot be written.
    pub fn begin(base_dir: &Path, fault: Fault) -> io::Result<Outage> {
        let (path, aside) = (base_dir.join("imap-master"), base_dir.join("imap-master.aside"));
        std::fs::rename(&path, &aside)?;
        let mut outage = Outage { path, aside, stop: None, thread: None };
        if fault == Fault::Absent {
            return Ok(outage);
        }
        let listener = UnixListener::bind(&outage.path)?;
        // Dovecot's imap-hibernate runs as another user than we do.
        std::fs::set_permissions(&outage.path, PermissionsExt::from_mode(0o666))?;
        if fault != Fault::Deaf {
            listener.set_nonblocking(true)?;
            let (stop, stopped) = bounded(0);
            outage.stop = Some(stop);
            outage.thread = Some(thread::spawn(move || serve(&listener, fault, &stopped)));
        }
        Ok(outage)
    }

    /// The real one is back.
    ///
    /// # Errors
    /// Its folder cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| io::Error::other("the faulty imap-master panicked"))?;
        }
        std::fs::rename(&self.aside, &self.path)
    }
}

fn serve(listener: &UnixListener, fault: Fault, stopped: &Receiver<()>) {
    let mut kept = Vec::new();
    while stopped.recv_timeout(Duration::from_millis(5)).is_err_and(|error| error.is_timeout()) {
        while let Ok((stream, _)) = listener.accept() {
            if fault == Fault::Silent {
                kept.push(stream);
            } else {
                thread::spawn(move || converse(stream, fault));
            }
        }
    }
}

fn converse(mut stream: UnixStream, fault: Fault) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.write_all(MASTER_VERSION)?;
    if fault == Fault::DyingBefore {
        return Ok(());
    }
    let client = take_client(&stream)?;
    if fault == Fault::Refusing {
        stream.write_all(b"-this worker takes nobody\n")?;
    }
    drop(client);
    Ok(())
}

/// Reads VERSION and the request line; the client rides on one of the bytes.
fn take_client(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let (mut client, mut lines) = (None, 0);
    let mut buffer = [0; 4096];
    while lines < 2 {
        let mut asked = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::from(5000u16))?;
        let received = receive(stream.as_fd(), &mut buffer)?;
        if received.count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        client = received.passed.fds.into_iter().flatten().next().or(client);
        lines += buffer[..received.count].iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(client)
}
