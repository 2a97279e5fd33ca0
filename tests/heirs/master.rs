//! imap-master, and workers that behave as they are told: each a process, which ends with its
//! client.

use std::io::{self, Read as _, Write as _, stdin};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use torpor_handoff::line::MASTER_VERSION;
use torpor_handoff::sys::fd::receive;

/// What a worker makes of a whole request. Of half a one each makes nothing, and hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Takes,
    Refuses,
    HangsUp,
    /// Keeps the client and says nothing, until it is shut down.
    IsSilent,
}

impl Manner {
    pub const ALL: [Self; 4] = [Self::Takes, Self::Refuses, Self::HangsUp, Self::IsSilent];

    /// None in a process that is no worker.
    pub fn from_args() -> Option<Self> {
        let mut words = std::env::args().skip(1);
        words.next().filter(|role| role == "worker")?;
        let name = words.next()?;
        Self::ALL.into_iter().find(|manner| format!("{manner:?}") == name)
    }

    /// What heirs may find, in the order of the alphabet.
    pub fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Takes => &["Gone", "Taken", "Unsent"],
            Self::Refuses => &["Gone", "Refused", "Unsent"],
            Self::HangsUp => &["Gone", "Unsent"],
            Self::IsSilent => &["Gone", "Lost", "Unsent"],
        }
    }
}

/// Starts a worker for each connection, of the last manner that was sent.
pub fn start(path: &Path) -> Sender<Manner> {
    let listener = UnixListener::bind(path).expect("a free path");
    let (manners, told) = channel();
    thread::spawn(move || {
        let mut manner = Manner::Takes;
        while let Ok((stream, _)) = listener.accept() {
            manner = told.try_iter().last().unwrap_or(manner);
            let mut worker = Command::new(std::env::current_exe().expect("procfs"));
            worker.args(["worker", &format!("{manner:?}")]).stdin(OwnedFd::from(stream));
            // It ends well or not: an engine that is killed breaks off wherever it is.
            worker.status().expect("itself");
        }
    });
    manners
}

/// The worker, with its connection as standard input.
pub fn serve(manner: Manner) -> io::Result<()> {
    let mut stream = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(MASTER_VERSION)?;
    stream.read_exact(&mut [0; MASTER_VERSION.len()])?;
    let client = take(&stream)?;
    match manner {
        Manner::Takes => {
            // An heir hears it even if nobody else does.
            let _ = stream.write_all(b"+\n");
            UnixStream::from(client).write_all(b"served\n")
        }
        Manner::Refuses => stream.write_all(b"-not today\n"),
        Manner::HangsUp => Ok(()),
        Manner::IsSilent => UnixStream::from(client).read_to_end(&mut Vec::new()).map(drop),
    }
}

/// The client, if the whole request comes.
fn take(stream: &UnixStream) -> io::Result<OwnedFd> {
    let (mut client, mut line) = (None, Vec::new());
    let mut buffer = [0; 4096];
    while line.last() != Some(&b'\n') {
        let mut readable = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut readable, PollTimeout::from(5000_u16))?;
        let received = match receive(stream.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => continue,
            other => other?,
        };
        if received.count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&buffer[..received.count]);
        client = client.or(received.passed.fds.into_iter().flatten().next());
    }
    client.ok_or_else(|| io::Error::other("a line without a client"))
}

pub const PATIENCE: Duration = Duration::from_secs(10);
