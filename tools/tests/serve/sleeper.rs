//! A client that sleeps, talks in its sleep, and compares what it hears to the byte.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::parts::{Peer, Torpor};

/// Its number is in its user's name and in its tags.
pub struct Sleeper {
    number: usize,
    peer: Peer,
    /// Commands that it has sent but for a last DONE.
    said: usize,
}

impl Sleeper {
    /// Behind an AF_UNIX socket, as after a TLS login.
    pub fn new(torpor: &Torpor, number: usize) -> Self {
        let peer = torpor.try_hibernate(&format!("u{number}"), &format!("s{number}"));
        let peer = peer.expect("taken");
        peer.set_read_timeout(PATIENCE).expect("a socket");
        Self { number, peer: Box::new(peer), said: 0 }
    }

    /// With the Maildir `mailbox`.
    pub fn watching(torpor: &Torpor, number: usize, mailbox: &Path) -> Self {
        let (near, peer) = UnixStream::pair().expect("a pair");
        let notify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let notify = notify.expect("an instance");
        for folder in ["new", "cur"] {
            let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            notify.add_watch(&mailbox.join(folder), events).expect("watched");
        }
        let (user, session) = (format!("u{number}"), format!("s{number}"));
        torpor.offer_watching(&user, &session, near.into(), notify.into()).expect("taken");
        peer.set_read_timeout(PATIENCE).expect("a socket");
        Self { number, peer: Box::new(peer), said: 0 }
    }

    /// Behind TCP.
    pub fn behind_tcp(torpor: &Torpor, number: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (near, _) = listener.accept().expect("accepted");
        let (user, session) = (format!("u{number}"), format!("s{number}"));
        torpor.offer(&user, &session, near.into()).expect("taken");
        peer.set_read_timeout(PATIENCE).expect("a socket");
        Self { number, peer: Box::new(peer), said: 0 }
    }

    /// Ends its IDLE and begins the next; the answer is waited for later.
    pub fn say(&mut self) {
        self.said += 1;
        self.send(&format!("DONE\r\nc{}x{} IDLE\r\n", self.number, self.said));
    }

    /// Hears the answer to what it said last, and nothing else before.
    pub fn hears(&mut self) {
        let tag = match self.said {
            1 => "a1".to_owned(),
            said => format!("c{}x{}", self.number, said - 1),
        };
        self.reads(&format!("{tag} OK Idle completed.\r\n+ idling\r\n"));
    }

    /// Reads so many bytes, and these.
    pub fn reads(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        let result = self.peer.read_exact(&mut heard);
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(result.is_ok() && heard == text, "client {}: {result:?}, {heard:?}", self.number);
    }

    /// Ends its IDLE, which wakes a worker.
    pub fn ends(&mut self) {
        self.send("DONE\r\n");
    }

    /// Hears that a worker of [`crate::takers`] has it.
    pub fn is_taken(&mut self) {
        self.reads(&format!("taken u{}\r\n", self.number));
    }

    fn send(&mut self, text: &str) {
        self.peer.write_all(text.as_bytes()).expect("somebody holds the other end");
    }
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));
