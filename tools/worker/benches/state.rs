//! What a session is while it sleeps: bytes of its state and of the line around it, for INBOXes of
//! 10, 1,000 and 100,000 messages.
//!
//! Real sessions go to sleep; the bench is an engine that reads their line and refuses.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use torpor_handoff::line::{HIBERNATE_VERSION, HibernateLine};
use torpor_store::Home;
use torpor_worker::link::Link;
use torpor_worker::session::Session;
use torpor_worker::{Account, Options};

fn main() {
    println!("{:>8}  {:>5}  {:>6}  {:>4}", "messages", "state", "base64", "line");
    for messages in [10, 1_000, 100_000] {
        let line = line_of(messages);
        let state = HibernateLine::parse(&line).expect("it parses").state.expect("it has a state");
        let bytes = STANDARD.decode(state).expect("parse() checked it").len();
        println!("{messages:>8}  {bytes:>5}  {:>6}  {:>4}", state.len(), line.len());
    }
}

/// The line with which a session on an INBOX of so many messages goes to sleep.
fn line_of(messages: u32) -> Vec<u8> {
    // Nothing here depends on a disk, so it need not wait for one.
    let root = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder");
    let home = Home::open(&root.path().join("ann")).expect("a home");
    for number in 0..messages {
        let name = format!("{}.M{number}.host", 1_790_000_000 + number);
        fs::write(home.root().join("new").join(name), "x\r\n").expect("a mail");
    }
    let engine = UnixListener::bind(root.path().join("imap-hibernate")).expect("a socket");
    let (mut client, server) = UnixStream::pair().expect("a connection");
    let options = Options {
        base_dir: root.path().to_owned(),
        hibernate_after: Duration::from_millis(1),
        keepalive: Duration::from_secs(120),
    };
    let account = Account {
        user: "ann".into(),
        home: home.root().to_owned(),
        session: "2Y1Zt/JgArF/AAAB".into(),
        created: 1_795_445_434,
        ..Account::default()
    };
    let link = Link::new(server.into(), None).expect("a socket");
    let session = Session::new(link, account, options, home);
    let thread = thread::spawn(move || session.greet_and_run("a"));
    client.write_all(b"b SELECT INBOX\r\nc IDLE\r\n").expect("it listens");
    let (mut worker, _) = engine.accept().expect("it wants to sleep");
    worker.write_all(HIBERNATE_VERSION).expect("it listens");
    let mut lines = BufReader::new(worker).split(b'\n');
    let _version = lines.next().expect("VERSION").expect("it speaks");
    let line = lines.next().expect("the line").expect("it speaks");
    drop((client, lines));
    thread.join().expect("no session panics");
    line
}
