//! A user's home, and clients that talk to sessions on it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use torpor_store::Home;
use torpor_worker::link::Link;
use torpor_worker::session::Session;
use torpor_worker::{Account, End, Options};

/// One user; everything goes with it.
pub struct Lab {
    root: TempDir,
    pub options: Options,
}

impl Lab {
    pub fn new() -> Self {
        Self::at(TempDir::new().unwrap())
    }

    /// Where nothing waits for a disk, if there is such a place.
    pub fn in_memory(hibernate_after: Duration) -> Self {
        let root = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let mut lab = Self::at(root.unwrap());
        lab.options.hibernate_after = hibernate_after;
        lab
    }

    fn at(root: TempDir) -> Self {
        let options = Options {
            base_dir: root.path().to_owned(),
            hibernate_after: Duration::ZERO,
            keepalive: Duration::ZERO,
        };
        Self { root, options }
    }

    /// Clients of this lab are handed over after so long.
    pub fn hibernating(after: Duration) -> Self {
        let mut lab = Self::new();
        lab.options.hibernate_after = after;
        lab
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("u1")
    }

    pub fn account(&self) -> Account {
        let (user, session) = ("u1".to_owned(), "s\t1".to_owned());
        Account { user, home: self.home(), session, created: 7, ..Account::default() }
    }

    /// Puts a mail into a mailbox's new/, as any delivery agent does.
    pub fn deliver(&self, mailbox: &str, text: &str) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = match mailbox {
            "INBOX" => self.home(),
            other => self.home().join(format!(".{other}")),
        };
        let name = format!("1790000000.M{:09}.host", COUNT.fetch_add(1, Ordering::Relaxed));
        let written = folder.join("tmp").join(&name);
        fs::write(&written, text.replace('\n', "\r\n")).unwrap();
        fs::rename(written, folder.join("new").join(name)).unwrap();
    }

    /// An INBOX with so many small mails, none of them seen by a session.
    pub fn with_mails(count: u32) -> Self {
        let lab = Self::new();
        Home::open(&lab.home()).unwrap();
        for number in 1..=count {
            lab.deliver("INBOX", &format!("Subject: {number}\n\nmail {number}\n"));
        }
        lab
    }

    /// A client that has just logged in and read the answer to that.
    pub fn login(&self) -> Client {
        self.login_until(None)
    }

    /// The same, in a process that is to end once `stop` is readable.
    pub fn login_until(&self, stop: Option<OwnedFd>) -> Client {
        let (client, server) = UnixStream::pair().unwrap();
        let link = Link::new(server.into(), stop).unwrap();
        let home = Home::open(&self.home()).unwrap();
        let session = Session::new(link, self.account(), self.options.clone(), home);
        let thread = thread::spawn(move || session.greet_and_run("l1"));
        let mut client = Client::new(client, thread);
        let welcome = client.line();
        assert!(welcome.starts_with("l1 OK [CAPABILITY IMAP4rev1 "), "{welcome}");
        client
    }

    /// The same, with INBOX selected.
    pub fn select(&self) -> Client {
        let mut client = self.login();
        client.ok("SELECT INBOX");
        client
    }
}

/// One connection, and the session at its other end.
pub struct Client {
    stream: BufReader<UnixStream>,
    thread: Option<JoinHandle<End>>,
    count: u32,
}

impl Client {
    pub fn new(stream: UnixStream, thread: JoinHandle<End>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), thread: Some(thread), count: 0 }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next line, without its line end; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        self.next_line().unwrap_or_default()
    }

    /// The same; `None` at the end of the stream.
    fn next_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let count = self.stream.read_until(b'\n', &mut line).expect("the session answers in time");
        (count > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Lines up to the one that begins with `end`, which is the last.
    pub fn until(&mut self, end: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().starts_with(end) {
            let Some(line) = self.next_line() else { panic!("closed before {end}: {lines:?}") };
            lines.push(line);
        }
        lines
    }

    /// Gives a command; its untagged lines, then its tagged one without the tag.
    pub fn say(&mut self, command: &str) -> Vec<String> {
        self.count += 1;
        let tag = format!("t{}", self.count);
        self.send(format!("{tag} {command}\r\n"));
        let mut lines = self.until(&format!("{tag} "));
        let last = lines.pop().unwrap();
        lines.push(last[tag.len() + 1..].to_owned());
        lines
    }

    /// Gives a command that has to succeed; its untagged lines.
    pub fn ok(&mut self, command: &str) -> Vec<String> {
        let mut lines = self.say(command);
        let last = lines.pop().unwrap();
        assert!(last.starts_with("OK"), "{command}: {last}");
        lines
    }

    /// Gives a command; its tagged line.
    pub fn reply(&mut self, command: &str) -> String {
        self.say(command).pop().unwrap()
    }

    /// Begins IDLE under the tag `i`.
    pub fn idle(&mut self) {
        self.send("i IDLE\r\n");
        assert_eq!(self.line(), "+ idling");
    }

    /// Hangs up; how the session ended.
    pub fn hang_up(mut self) -> End {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        self.end()
    }

    /// How the session ends by itself.
    pub fn end(&mut self) -> End {
        self.thread.take().unwrap().join().expect("no session panics")
    }

    /// A copy of the connection, for the engine's part.
    pub fn stream(&self) -> UnixStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Goes on with another session.
    pub fn attach(&mut self, thread: JoinHandle<End>) {
        assert!(self.thread.replace(thread).is_none(), "the session before has ended");
    }
}

impl Drop for Client {
    /// A session that panicked is a failed test, whatever else it showed.
    fn drop(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let end = thread.join();
            assert!(end.is_ok() || thread::panicking(), "a session panicked");
        }
    }
}

/// No answer takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
