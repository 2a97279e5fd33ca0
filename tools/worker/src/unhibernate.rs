//! Taking a client back: the worker's side of `imap-master`.
//!
//! Before `+` nothing is read from or written to the client, and a failure leaves it with the
//! engine; after it the client is ours, and everything that goes wrong is told to the client.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{fstat, major, minor};
use torpor_handoff::line::{
    HibernateLine, LineError, MASTER_VERSION, MasterRequest, check_version, unescape_into,
};
use torpor_handoff::sys::fd::receive;
use torpor_store::{Home, StoreError};

use crate::account::{Account, Options};
use crate::end::End;
use crate::limits::{INPUT_BYTES, REQUEST_BYTES_MAX, REQUEST_WAIT_MAX};
use crate::link::Link;
use crate::log::Log;
use crate::reply::Reply;
use crate::resume::Lost;
use crate::selected::Selected;
use crate::session::Session;
use crate::state::{State, StateError};

/// Why a client is left with the engine. The text follows the `-`.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Engine: it went away, or said too much or too little.
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("Failed to parse client input: {0}")]
    Line(#[from] LineError),
    #[error("IMAP client fd not received")]
    NoClient,
    #[error("Failed to verify client input: peer_ino does not name the IMAP client fd received")]
    WrongPeer,
    #[error("Failed to create client: userdb_fields has no home")]
    NoHome,
    #[error("Failed to create client: {0}")]
    State(#[from] StateError),
    #[error("Failed to create client: {0}")]
    Store(#[from] StoreError),
}

/// A request that has been read in full.
struct Received {
    line: Vec<u8>,
    client: OwnedFd,
}

/// Serves the client that comes over `master`, a connection accepted on `imap-master`. `ours` is
/// told whose it is when it is about to be ours, and gives the stop descriptor.
pub fn run_woken(
    master: OwnedFd,
    options: Options,
    ours: impl FnOnce(&Account) -> io::Result<Option<OwnedFd>>,
) -> Result<End, Refusal> {
    let mut master = UnixStream::from(master);
    master.set_nonblocking(false)?;
    let outcome = wake(&mut master, options, ours);
    let answer = match &outcome {
        Ok(_) => "+\n".to_owned(),
        Err(refusal) => format!("-{refusal}\n"),
    };
    master.write_all(answer.as_bytes())?;
    drop(master);
    Ok(outcome?.run())
}

/// A session that is ready to go on, once the engine has been told.
struct Woken {
    session: Session,
    tag: String,
    input: Vec<u8>,
    output: Vec<u8>,
    ending: Ending,
    lost: Option<&'static str>,
}

/// What becomes of the IDLE that was handed over.
enum Ending {
    Continue,
    Done,
    Bad,
}

fn wake(
    master: &mut UnixStream,
    options: Options,
    ours: impl FnOnce(&Account) -> io::Result<Option<OwnedFd>>,
) -> Result<Woken, Refusal> {
    let received = read_request(master)?;
    let request = MasterRequest::parse(&received.line)?;
    check_peer(&request.line, &received.client)?;
    let account = account(&request.line)?;
    let state =
        STANDARD.decode(request.line.state.unwrap_or_default()).expect("parse() checked it");
    let state = State::from_bytes(&state)?;
    let home = Home::open(&account.home)?;
    let features = state.features;
    let log = Log::new(&account);
    let restored =
        state.selected.map(|state| Selected::restore(&state, &home, features.qresync, &log));
    let (selected, lost) = match restored.transpose() {
        Ok(selected) => (selected, None),
        Err(Lost::Changed(reason)) => (None, Some(reason)),
        Err(Lost::Store(error)) => return Err(error.into()),
    };
    let link = Link::new(received.client, ours(&account)?)?;
    let mut session = Session::new(link, account, options, home);
    session.features = features;
    session.selected = selected;
    session.statistics = request.line.statistics.unwrap_or_default();
    let (mut input, mut output, mut tag) = (Vec::new(), Vec::new(), Vec::new());
    request.client_input_into(&mut input);
    request.client_output_into(&mut output);
    request.line.tag_into(&mut tag);
    let ending = match (request.bad_done, request.idle_continue) {
        (true, _) => Ending::Bad,
        (false, true) => Ending::Continue,
        (false, false) => Ending::Done,
    };
    let tag = String::from_utf8_lossy(&tag).into_owned();
    Ok(Woken { session, tag, input, output, ending, lost })
}

impl Woken {
    fn run(mut self) -> End {
        match self.take_up() {
            Ok(()) => self.session.run(),
            Err(end) => self.session.finish(end),
        }
    }

    /// Everything up to the end of the IDLE that was handed over.
    fn take_up(&mut self) -> Result<(), End> {
        let Woken { session, tag, input, output, ending, lost } = self;
        session.link.write_all(output)?;
        if let Some(reason) = lost {
            return Err(End::Inconsistent(reason));
        }
        session.link.prepend(input);
        session.look()?;
        let reply = match ending {
            Ending::Bad => Reply::bad("Idle completed."),
            Ending::Continue => {
                let outcome = session.resume_idle(tag);
                session.reply_to(outcome)?
            }
            Ending::Done => Reply::ok("Idle completed."),
        };
        Ok(reply.write(&mut session.link, Some(tag))?)
    }
}

/// Says VERSION, then reads the engine's and the request with the client that rides on it.
fn read_request(master: &mut UnixStream) -> Result<Received, Refusal> {
    master.write_all(MASTER_VERSION)?;
    let deadline = Instant::now() + REQUEST_WAIT_MAX;
    let (mut bytes, mut client) = (Vec::new(), None);
    let mut piece = [0; INPUT_BYTES];
    loop {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        if let (Some(version), Some(line), Some(_)) = (lines.next(), lines.next(), lines.next()) {
            check_version(version, "imap-master")?;
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            return Ok(Received { line, client: client.ok_or(Refusal::NoClient)? });
        }
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        wait(master, deadline)?;
        let received = match receive(master.as_fd(), &mut piece) {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => continue,
            other => other.map_err(io::Error::from)?,
        };
        if received.count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        bytes.extend_from_slice(&piece[..received.count]);
        client = client.or(received.passed.fds.into_iter().flatten().next());
    }
}

fn wait(master: &UnixStream, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], left) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The socket has to be the one that was handed over.
fn check_peer(line: &HibernateLine<'_>, client: &OwnedFd) -> Result<(), Refusal> {
    let Some(peer) = line.peer.filter(|peer| peer.ino != 0) else { return Ok(()) };
    let stat = fstat(client).map_err(io::Error::from)?;
    let is_same = stat.st_ino == peer.ino
        && major(stat.st_dev) == u64::from(peer.dev_major)
        && minor(stat.st_dev) == u64::from(peer.dev_minor);
    if is_same { Ok(()) } else { Err(Refusal::WrongPeer) }
}

fn account(line: &HibernateLine<'_>) -> Result<Account, Refusal> {
    let text = |field: &[u8]| {
        let mut out = Vec::new();
        unescape_into(&mut out, field);
        out
    };
    let name = |field: &[u8]| String::from_utf8_lossy(&text(field)).into_owned();
    let fields = text(line.userdb_fields.unwrap_or_default());
    let mut fields = fields.split(|byte| *byte == b'\t').map(text);
    let home = fields.find_map(|field| field.strip_prefix(b"home=").map(<[u8]>::to_vec));
    Ok(Account {
        user: name(line.username),
        home: PathBuf::from(OsString::from_vec(home.ok_or(Refusal::NoHome)?)),
        session: name(line.session.unwrap_or_default()),
        created: line.session_created.unwrap_or_default(),
        lip: line.lip,
        lport: line.lport,
        rip: line.rip,
        rport: line.rport,
    })
}
