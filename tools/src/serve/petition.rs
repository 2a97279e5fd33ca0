//! What an operator asks the keeper itself: `torpor upgrade` and `torpor stop`, one line of JSON
//! each way.
//!
//! Not the control socket: an engine answers there, which reads what strangers send, and what is
//! asked for here is to run a program with all that the keeper may do, or to end everything.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// To say BYE to everybody and end.
    Stop,
    /// To go on as the program at this absolute path.
    Upgrade(PathBuf),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It has ended, but somebody has not been told; says who.
    Broken(String),
    /// What ran before runs on; says why.
    Refused(String),
    /// Done; says what.
    Stopped(String),
    /// Done; says what.
    Upgraded(String),
}

impl Verdict {
    /// What was asked for was done, all of it.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::Upgraded(_))
    }

    /// What it says.
    pub fn text(&self) -> &str {
        match self {
            Self::Broken(text)
            | Self::Refused(text)
            | Self::Stopped(text)
            | Self::Upgraded(text) => text,
        }
    }
}

/// Somebody who has connected and perhaps not said yet what he wants. He is looked at again when he
/// says more: the keeper waits for nobody.
#[derive(Debug)]
pub struct Asker {
    stream: UnixStream,
    said: Vec<u8>,
    since: Instant,
}

impl Asker {
    /// The next one. `None`: nobody, or somebody who may not.
    pub fn accept(listener: BorrowedFd<'_>) -> Option<Self> {
        let listener = UnixListener::from(listener.try_clone_to_owned().ok()?);
        let (stream, _) = listener.accept().ok()?;
        let peer = getsockopt(&stream, sockopt::PeerCredentials).ok()?;
        let (uid, us) = (Uid::from_raw(peer.uid()), Uid::effective());
        if !uid.is_root() && uid != us {
            let what = format!("uid {uid} may not ask for an upgrade or a stop");
            tracing::error!(event = "petition_forbidden", "{what}");
            let who = if us.is_root() { "root" } else { "root and the user of torpor" };
            Petition { stream }.answer(&Verdict::Refused(format!("{what}: only {who} may")));
            return None;
        }
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, said: Vec::new(), since: Instant::now() })
    }

    /// What he asks for, or himself if that is not all there yet.
    ///
    /// # Errors
    /// He has hung up, says something else, or is not done after [`QUESTION_PATIENCE`].
    pub fn hear(mut self) -> io::Result<Result<(Question, Petition), Self>> {
        let mut part = [0; 1024];
        while !self.said.ends_with(b"\n") {
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.said.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.since.elapsed() < QUESTION_PATIENCE => return Ok(Err(self)),
                Err(_) => return Err(ErrorKind::TimedOut.into()),
            }
            if self.said.len() > LINE_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        let question = serde_json::from_slice(&self.said)?;
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
        Ok(Ok((question, Petition { stream: self.stream })))
    }
}

impl AsFd for Asker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// An operator who waits for an answer.
#[derive(Debug)]
pub struct Petition {
    stream: UnixStream,
}

impl Petition {
    /// One whom an earlier image of this process has heard.
    pub fn unpack(stream: OwnedFd) -> Self {
        Self { stream: stream.into() }
    }

    /// Tells the end of it.
    pub fn answer(mut self, verdict: &Verdict) {
        self.tell(verdict);
    }

    /// Tells the end of it and of us: the asker's end is closed by the end of this process.
    pub fn answer_and_end(mut self, verdict: &Verdict) {
        self.tell(verdict);
        let _ = self.stream.into_raw_fd();
    }

    fn tell(&mut self, verdict: &Verdict) {
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

/// Asks the keeper that listens at `path`, and waits for the end of it.
///
/// # Errors
/// NotFound, ConnectionRefused: nobody listens there. PermissionDenied: it is not for us to ask.
/// Otherwise, he has ended before he answered.
pub fn ask(path: &Path, question: &Question) -> io::Result<Verdict> {
    let mut stream = UnixStream::connect(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "only root and the user of torpor may ask",
            _ => "is torpor serve running?",
        };
        io::Error::new(error.kind(), format!("{}: {error} ({hint})", path.display()))
    })?;
    let question = serde_json::to_string(question)? + "\n";
    // A keeper that refuses without a look at it has answered all the same.
    let _ = stream.write_all(question.as_bytes());
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    match stream.read_line(&mut line) {
        Ok(1..) => {
            let verdict = serde_json::from_str(&line)?;
            // Who ends does so in this moment, and holds his end until then.
            let _ = io::copy(&mut stream, &mut io::sink());
            Ok(verdict)
        }
        Ok(0) | Err(_) => {
            let why = "torpor has hung up before it answered; its log says more";
            Err(io::Error::other(why))
        }
    }
}

/// Between a connection and all of its question: one write, however busy the machine is.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);
/// An answer fits what a socket takes.
const ANSWER_PATIENCE: Duration = Duration::from_millis(100);
const LINE_BYTES_MAX: usize = 8 << 10;
