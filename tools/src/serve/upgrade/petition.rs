//! What an operator asks the keeper itself: `torpor upgrade`, one JSON object a line.
//!
//! Not the control socket: an engine answers there, which reads what strangers send, and what is
//! asked for here is to run a program with all that the keeper may do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

/// The question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The program to go on with.
    upgrade: PathBuf,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Done; says what.
    Upgraded(String),
    /// What ran before runs on; says why.
    Refused(String),
}

/// An operator who waits for an answer.
#[derive(Debug)]
pub struct Petition {
    stream: UnixStream,
}

impl Petition {
    /// The next one who asks, and for which program. `None`: nobody, or somebody who may not.
    pub fn accept(listener: BorrowedFd<'_>) -> Option<(Self, PathBuf)> {
        let listener = UnixListener::from(listener.try_clone_to_owned().ok()?);
        let (stream, _) = listener.accept().ok()?;
        let peer = getsockopt(&stream, sockopt::PeerCredentials).ok()?;
        let uid = Uid::from_raw(peer.uid());
        if !uid.is_root() && uid != Uid::effective() {
            tracing::error!(event = "upgrade_forbidden", "uid {uid} may not ask for an upgrade");
            return None;
        }
        let question = ask_for(&stream).inspect_err(|error| {
            tracing::error!("who asks for an upgrade is not understood: {error}");
        });
        Some((Self { stream }, question.ok()?.upgrade))
    }

    /// One whom an earlier image of this process has heard.
    pub fn unpack(stream: OwnedFd) -> Self {
        Self { stream: stream.into() }
    }

    /// Tells the end of it.
    pub fn answer(mut self, verdict: &Verdict) {
        let line = serde_json::to_string(verdict).expect("text") + "\n";
        // Whoever has left reads it in the log.
        let _ = self.stream.write_all(line.as_bytes());
    }
}

impl AsFd for Petition {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Asks the torpor that listens at `path` to go on with `binary`, and waits for the end of it.
///
/// # Errors
/// Nobody listens there, or he has ended before he answered.
pub fn ask(path: &Path, binary: &Path) -> io::Result<Verdict> {
    let mut stream = UnixStream::connect(path).map_err(|error| {
        let text = format!("{}: {error} (is torpor serve running?)", path.display());
        io::Error::new(error.kind(), text)
    })?;
    let question = Question { upgrade: std::path::absolute(binary)? };
    let question = serde_json::to_string(&question)? + "\n";
    let mut line = String::new();
    let written = stream.write_all(question.as_bytes());
    match written.and_then(|()| BufReader::new(stream).read_line(&mut line)) {
        Ok(1..) => Ok(serde_json::from_str(&line)?),
        Ok(0) | Err(_) => {
            let why = "torpor has hung up before it answered; its log says more";
            Err(io::Error::other(why))
        }
    }
}

/// Its line comes at once: it was written before anybody was asked to accept it, or the keeper
/// would wait for it.
fn ask_for(stream: &UnixStream) -> io::Result<Question> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

const PATIENCE: Duration = Duration::from_millis(100);
const LINE_BYTES_MAX: u64 = 8 << 10;
