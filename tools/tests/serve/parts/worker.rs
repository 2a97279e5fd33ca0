//! The worker that gives a torpor its clients.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{Torpor, eventually};

impl Torpor {
    /// Puts a client to sleep as a worker does, waits until it is, and returns its other end.
    pub fn hibernate(&self, user: &str, session: &str) -> UnixStream {
        let asleep = || self.json(&["stats"])["counters"]["asleep"].as_u64().expect("a number");
        let client = self.try_hibernate(user, session).expect("accepted");
        eventually("it sleeps", || asleep() > 0);
        client
    }

    /// The same without waiting; what was said instead of `+` is the error.
    pub fn try_hibernate(&self, user: &str, session: &str) -> Result<UnixStream, String> {
        let (near, far) = UnixStream::pair().expect("a pair");
        self.offer(user, session, near.into()).map(|()| far)
    }

    /// The same with any socket.
    pub fn offer(&self, user: &str, session: &str, client: OwnedFd) -> Result<(), String> {
        self.begin(user, session, client, "").map(drop)
    }

    /// The same with a mailbox that this inotify instance watches.
    pub fn offer_watching(
        &self,
        user: &str,
        session: &str,
        client: OwnedFd,
        notify: OwnedFd,
    ) -> Result<(), String> {
        let mut worker = self.begin(user, session, client, "mailbox=INBOX\tnotify_fd\t")?;
        pass(&worker, b"\n", notify)?;
        let mut said = [0; 2];
        worker.read_exact(&mut said).map_err(|error| error.to_string())?;
        if said == *b"+\n" { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
    }

    /// Up to the first `+`.
    fn begin(
        &self,
        user: &str,
        session: &str,
        client: OwnedFd,
        words: &str,
    ) -> Result<UnixStream, String> {
        let mut worker = UnixStream::connect(self.dir().join("imap-hibernate")).expect("torpor");
        worker.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let user = user.replace('\t', "\x01t");
        let line = format!(
            "{user}\t%s(%u)<%{{pid}}><%{{session}}>: \tidle_notify_interval=0\tsession={session}\t\
             rip=192.0.2.7\tuserdb_fields=auth_token={TOKEN}\tauth_token={TOKEN}\t\
             {words}tag=a1\tstats=in=0 out=0\tidle-cmd\tstate=YQ==\n"
        );
        // A peer that is not allowed finds the connection closed, sooner or later.
        let sent = worker.write_all(b"VERSION\timap-hibernate\t1\t0\n");
        sent.map_err(|error| error.to_string())?;
        pass(&worker, &line.as_bytes()[..1], client)?;
        worker.write_all(&line.as_bytes()[1..]).map_err(|error| error.to_string())?;
        let mut said = String::new();
        let hello = "VERSION\timap-hibernate\t1\t0\n";
        let mut piece = [0; 512];
        while !said.strip_prefix(hello).is_some_and(|rest| rest.ends_with('\n')) {
            match worker.read(&mut piece) {
                Ok(count @ 1..) => said.push_str(&String::from_utf8_lossy(&piece[..count])),
                _ => break,
            }
        }
        if said.ends_with("\n+\n") { Ok(worker) } else { Err(said) }
    }
}

fn pass(worker: &UnixStream, byte: &[u8], client: OwnedFd) -> Result<(), String> {
    let descriptors = [client.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&descriptors)];
    let bytes = [IoSlice::new(byte)];
    let sent = sendmsg::<()>(worker.as_raw_fd(), &bytes, &message, MsgFlags::empty(), None);
    sent.map(drop).map_err(|errno| errno.to_string())
}

/// What every client's line holds and no log ever does.
pub const TOKEN: &str = "780b320eb92e3f4bec381d10bb91d6728a988269";
