//! Handing a client over to the engine: the worker's side of `imap-hibernate`.
//!
//! Until the last `+` the client is ours, and whatever goes wrong before it leaves it here. The
//! exchange blocks, for `HAND_OVER_MAX` at most, as it does in Dovecot.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use nix::sys::stat::{fstat, major, minor};
use torpor_handoff::line::{
    HIBERNATE_VERSION, HibernateLine, Peer, Statistics, check_version, escape_into,
};
use torpor_handoff::sys::fd::send_with_fd;

use crate::end::{End, Trouble};
use crate::limits::HAND_OVER_MAX;
use crate::session::Session;
use crate::watch::Watch;

/// Why a client stays with its worker.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// Host: there is no engine, or it went away in the middle.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Engine: its first line is not the one of this protocol.
    #[error("wrong VERSION line")]
    Version,
    /// Engine: it has no room, or does not like the line.
    #[error("{0}")]
    Said(String),
}

impl Session {
    /// Returns if the client stays. Nothing may be pending in either direction.
    pub(crate) fn hand_over(&mut self, tag: &str, watch: Option<&Watch>) -> Result<(), Trouble> {
        assert!(self.link.pending().is_empty(), "the line cannot carry input");
        let outcome = self.line(tag, watch.is_some()).and_then(|line| self.exchange(&line, watch));
        match outcome {
            Ok(()) => Err(End::HandedOver.into()),
            Err(refusal) => {
                self.log.error(format_args!("Couldn't hibernate imap client: {refusal}"));
                Ok(())
            }
        }
    }

    fn exchange(&self, line: &[u8], watch: Option<&Watch>) -> Result<(), Refusal> {
        let deadline = Instant::now() + HAND_OVER_MAX;
        let engine = connect(&self.options.base_dir.join("imap-hibernate"))?;
        let version = answer(&engine, deadline)?;
        check_version(&version, "imap-hibernate").map_err(|_| Refusal::Version)?;
        (&engine).write_all(HIBERNATE_VERSION)?;
        let client = self.link.socket();
        let sent = send_with_fd(engine.as_fd(), &line[..1], client).map_err(io::Error::from)?;
        (&engine).write_all(&line[sent..])?;
        taken(&answer(&engine, deadline)?)?;
        if let Some(watch) = watch {
            send_with_fd(engine.as_fd(), b"\n", watch.fd()).map_err(io::Error::from)?;
            taken(&answer(&engine, deadline)?)?;
        }
        Ok(())
    }

    /// The line that says everything about this session, as Dovecot 2.4.1 would.
    fn line(&self, tag: &str, has_watch: bool) -> Result<Vec<u8>, Refusal> {
        let account = &self.account;
        let stat = fstat(self.link.socket()).map_err(io::Error::from)?;
        let peer = Peer {
            dev_major: u32::try_from(major(stat.st_dev)).unwrap_or_default(),
            dev_minor: u32::try_from(minor(stat.st_dev)).unwrap_or_default(),
            ino: stat.st_ino,
        };
        let home = account.home.as_os_str().as_encoded_bytes();
        let fields = escaped(&escaped(&[b"home=", home].concat()));
        let mailbox =
            self.selected.as_ref().map(|selected| escaped(selected.name.as_str().as_bytes()));
        let state = STANDARD.encode(self.state().to_bytes());
        let mut out = Vec::new();
        let line = HibernateLine {
            username: &escaped(account.user.as_bytes()),
            log_prefix: b"%{service}(%{user})<%{process:pid}><%{session}>: ",
            idle_notify_interval_secs: u32::try_from(self.options.keepalive.as_secs())
                .unwrap_or(u32::MAX),
            peer: Some(peer),
            session: Some(&escaped(account.session.as_bytes())),
            session_created: Some(account.created),
            lip: account.lip,
            lport: account.lport,
            rip: account.rip,
            rport: account.rport,
            userdb_fields: Some(&fields),
            mailbox: mailbox.as_deref(),
            tag: &escaped(tag.as_bytes()),
            stats: Some(&escaped(self.totals().as_bytes())),
            idle_cmd: true,
            notify_fd: has_watch,
            state: Some(state.as_bytes()),
            statistics: Some(self.all_statistics()),
            ..HibernateLine::default()
        };
        line.render(&mut out);
        Ok(out)
    }

    fn all_statistics(&self) -> Statistics {
        let (input_bytes_extra, output_bytes_extra) = self.traffic();
        Statistics { input_bytes_extra, output_bytes_extra, ..self.statistics }
    }
}

/// Waits where the listen queue is full, but not for ever: the time limit of writes holds for
/// connect as well (unix(7), SO_SNDTIMEO), if it is set before.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let kind = (AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let engine = UnixStream::from(socket(kind.0, kind.1, kind.2, None)?);
    engine.set_write_timeout(Some(HAND_OVER_MAX))?;
    nix::sys::socket::connect(engine.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(engine)
}

/// One line, without its LF. The engine says nothing before it is spoken to, so nothing of its next
/// answer is lost.
fn answer(mut engine: &UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || line.len() > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        engine.set_read_timeout(Some(left))?;
        let mut byte = [0];
        match engine.read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => line.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    line.pop();
    Ok(line)
}

fn taken(answer: &[u8]) -> Result<(), Refusal> {
    match answer.split_first() {
        Some((b'+', _)) => Ok(()),
        Some((b'-', reason)) => Err(Refusal::Said(String::from_utf8_lossy(reason).into_owned())),
        _ => Err(Refusal::Said(String::from_utf8_lossy(answer).into_owned())),
    }
}

fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    escape_into(&mut out, text);
    out
}

const ANSWER_BYTES_MAX: usize = 1024;
