//! Handing over and taking back: the test is the engine.

mod done;
mod refused;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use torpor_handoff::line::unhibernate::{Wakeup, render};
use torpor_handoff::line::{HIBERNATE_VERSION, HibernateLine, MASTER_VERSION};
use torpor_handoff::sys::fd::{receive, send_with_fd};
use torpor_store::Home;
use torpor_worker::End;
use torpor_worker::state::State;
use torpor_worker::unhibernate::{Refusal, run_woken};

use crate::lab::{Client, Lab};

/// An engine that holds one client at a time.
pub struct Engine {
    listener: UnixListener,
}

/// A client that sleeps.
pub struct Sleeper {
    pub line: Vec<u8>,
    pub client: OwnedFd,
    notify: Option<OwnedFd>,
}

impl Engine {
    pub fn of(lab: &Lab) -> Self {
        let path = lab.options.base_dir.join("imap-hibernate");
        Self { listener: UnixListener::bind(path).unwrap() }
    }

    /// Takes the next client, or answers its first line with `-reason`.
    pub fn take(&self, refusal: Option<&str>) -> Option<Sleeper> {
        let (mut worker, _) = self.listener.accept().unwrap();
        worker.write_all(HIBERNATE_VERSION).unwrap();
        let (mut bytes, mut fds) = (Vec::new(), Vec::new());
        while bytes.iter().filter(|byte| **byte == b'\n').count() < 2 {
            read(&worker, &mut bytes, &mut fds);
        }
        let text = bytes.strip_prefix(HIBERNATE_VERSION).expect("VERSION comes first");
        let line = text.strip_suffix(b"\n").unwrap().to_vec();
        if let Some(reason) = refusal {
            worker.write_all(format!("-{reason}\n").as_bytes()).unwrap();
            return None;
        }
        worker.write_all(b"+\n").unwrap();
        let parsed = HibernateLine::parse(&line).unwrap();
        let client = fds.pop().expect("the client rides on the line");
        if parsed.notify_fd {
            let mut empty = Vec::new();
            read(&worker, &mut empty, &mut fds);
            assert_eq!(empty, b"\n");
            worker.write_all(b"+\n").unwrap();
        }
        // The worker hangs up once it has let go of its client.
        assert_eq!(worker.read(&mut [0]).unwrap(), 0);
        Some(Sleeper { line, client, notify: fds.pop() })
    }
}

fn read(worker: &UnixStream, bytes: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) {
    assert!(is_readable(worker.as_fd(), 10_000));
    let mut piece = [0; 4096];
    let received = receive(worker.as_fd(), &mut piece).unwrap();
    assert_ne!(received.count, 0, "the worker hung up too early");
    bytes.extend_from_slice(&piece[..received.count]);
    fds.extend(received.passed.fds.into_iter().flatten());
}

fn is_readable(fd: std::os::fd::BorrowedFd<'_>, ms: u16) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(ms)).unwrap() == 1
}

impl Sleeper {
    pub fn state(&self) -> State {
        let line = HibernateLine::parse(&self.line).unwrap();
        State::from_bytes(&STANDARD.decode(line.state.unwrap()).unwrap()).unwrap()
    }

    fn is_notified(&self) -> bool {
        is_readable(self.notify.as_ref().unwrap().as_fd(), 1000)
    }

    /// Gives the client to a new session, which `client` talks to from now on.
    pub fn wake(self, lab: &Lab, client: &mut Client, wakeup: &Wakeup<'_>) {
        let mut request = Vec::new();
        render(&mut request, &self.line, wakeup);
        let (answer, thread) = give(lab, &request, self.client);
        assert_eq!(answer, "+\n");
        client.attach(thread::spawn(move || thread.join().unwrap().expect("it was taken")));
    }

    /// Gives the client to a worker that must not take it; what that says.
    fn offer(&self, lab: &Lab, line: &[u8]) -> String {
        let mut request = Vec::new();
        render(&mut request, line, &Wakeup::default());
        let (answer, thread) = give(lab, &request, self.client.try_clone().unwrap());
        assert!(thread.join().unwrap().is_err(), "{answer}");
        answer
    }
}

pub type Serving = thread::JoinHandle<Result<End, Refusal>>;

/// Gives a client to a new session of this process; what that answers.
fn give(lab: &Lab, request: &[u8], client: OwnedFd) -> (String, Serving) {
    let (engine, worker) = UnixStream::pair().unwrap();
    let options = lab.options.clone();
    let thread = thread::spawn(move || run_woken(worker.into(), options, |_| Ok(None)));
    (send_request(engine, request, client), thread)
}

/// The engine's part on `imap-master`.
pub fn send_request(engine: UnixStream, request: &[u8], client: OwnedFd) -> String {
    let mut lines = BufReader::new(engine);
    let mut version = String::new();
    lines.read_line(&mut version).unwrap();
    assert_eq!(version.as_bytes(), MASTER_VERSION);
    lines.get_mut().write_all(MASTER_VERSION).unwrap();
    let sent = send_with_fd(lines.get_ref().as_fd(), request, client.as_fd()).unwrap();
    assert_eq!(sent, request.len());
    drop(client);
    let mut answer = String::new();
    lines.read_line(&mut answer).unwrap();
    answer
}

/// A client of `lab` that has just been handed over.
pub fn asleep(lab: &Lab, client: &mut Client) -> (Engine, Sleeper) {
    let engine = Engine::of(lab);
    client.idle();
    let sleeper = engine.take(None).unwrap();
    assert!(matches!(client.end(), End::HandedOver));
    (engine, sleeper)
}

pub fn quick() -> Duration {
    Duration::from_millis(50)
}

/// A lab whose clients are handed over at once, with so many mails.
fn lab_with(mails: u32) -> Lab {
    let lab = Lab::hibernating(quick());
    Home::open(&lab.home()).unwrap();
    for number in 1..=mails {
        lab.deliver("INBOX", &format!("Subject: {number}\n\nmail\n"));
    }
    lab
}

pub const CONTINUE: Wakeup<'static> = Wakeup {
    hibernation_started_us: 1,
    tag: None,
    client_input: b"",
    client_output: b"",
    idle_continue: true,
    input_bytes: 0,
    output_bytes: 0,
};

#[test]
fn a_quiet_client_is_handed_over_with_everything() {
    let lab = lab_with(3);
    let mut client = lab.select();
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let line = HibernateLine::parse(&sleeper.line).unwrap();
    assert_eq!((line.username, line.tag), (&b"u1"[..], &b"i"[..]));
    assert_eq!(line.session, Some(&b"s\x01t1"[..]));
    assert_eq!((line.session_created, line.mailbox), (Some(7), Some(&b"INBOX"[..])));
    assert!(line.idle_cmd && line.notify_fd);
    let statistics = line.statistics.unwrap();
    // SELECT and IDLE came in; what went out begins with the answer to the login.
    assert_eq!(statistics.input_bytes_extra, "t1 SELECT INBOX\r\ni IDLE\r\n".len() as u64);
    assert!(statistics.output_bytes_extra > 300);
    assert!(line.stats.unwrap().starts_with(b"in=25 out="));
    let state = sleeper.state().selected.unwrap();
    assert_eq!((state.name.as_str(), state.count, state.uid_next), ("INBOX", 3, 4));
    assert_eq!(state.recent.to_string(), "1:3");
    assert!(!is_readable(sleeper.notify.as_ref().unwrap().as_fd(), 100), "nothing has happened");
    lab.deliver("INBOX", "x\n");
    assert!(sleeper.is_notified());
}

#[test]
fn mail_and_expunges_of_the_night_are_told_in_the_old_numbers() {
    let lab = lab_with(5);
    let mut client = lab.select();
    let (engine, sleeper) = asleep(&lab, &mut client);
    let mut other = lab.select();
    other.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)");
    other.ok("EXPUNGE");
    other.ok("STORE 3 +FLAGS.SILENT (\\Seen $k)");
    lab.deliver("INBOX", "new\n");
    let wakeup = Wakeup { client_output: b"ll here\r\n", ..CONTINUE };
    sleeper.wake(&lab, &mut client, &wakeup);
    assert_eq!(client.line(), "ll here");
    assert_eq!((client.line(), client.line()), ("* 2 EXPUNGE".into(), "* 3 EXPUNGE".into()));
    assert_eq!(client.line(), "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $k)");
    assert!(client.line().starts_with("* OK [PERMANENTFLAGS "));
    assert_eq!(client.line(), "* 3 FETCH (FLAGS (\\Seen \\Recent $k))");
    assert_eq!((client.line(), client.line()), ("* 4 EXISTS".into(), "* 4 RECENT".into()));
    // It goes on idling, and goes to sleep again under the same tag.
    let sleeper = engine.take(None).unwrap();
    assert_eq!(HibernateLine::parse(&sleeper.line).unwrap().tag, b"i");
    assert_eq!(sleeper.state().selected.unwrap().count, 4);
}

/// Found by random commands: the neighbours of a message that had gone before were expunged as one
/// range over it, and the client was told BYE for an inconsistent state.
#[test]
fn an_expunge_around_an_older_gap_is_told_as_it_was() {
    let lab = lab_with(3);
    let mut client = lab.select();
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    client.ok("EXPUNGE");
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let mut other = lab.select();
    other.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)");
    other.ok("EXPUNGE");
    sleeper.wake(&lab, &mut client, &CONTINUE);
    assert_eq!((client.line(), client.line()), ("* 1 EXPUNGE".into(), "* 1 EXPUNGE".into()));
}

#[test]
fn a_client_with_qresync_hears_vanished() {
    let lab = lab_with(4);
    let mut client = lab.login();
    client.ok("ENABLE QRESYNC");
    client.ok("SELECT INBOX");
    let (_engine, sleeper) = asleep(&lab, &mut client);
    let mut other = lab.select();
    other.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)");
    other.ok("EXPUNGE");
    other.ok("STORE 1 +FLAGS.SILENT (\\Seen)");
    sleeper.wake(&lab, &mut client, &CONTINUE);
    assert_eq!(client.line(), "* VANISHED 1:2");
    assert!(client.line().starts_with("* 1 FETCH (UID 3 FLAGS (\\Seen \\Recent) MODSEQ ("));
}

#[test]
fn a_client_without_a_mailbox_sleeps_too() {
    let lab = lab_with(0);
    let mut client = lab.login();
    let (_engine, sleeper) = asleep(&lab, &mut client);
    assert!(sleeper.notify.is_none());
    assert_eq!(sleeper.state(), State::default());
    sleeper.wake(&lab, &mut client, &Wakeup { client_input: b"DONE\r\n", ..CONTINUE });
    assert_eq!(client.line(), "i OK Idle completed.");
    assert_eq!(client.reply("CHECK"), "BAD No mailbox selected.");
}
