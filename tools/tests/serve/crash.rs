//! The engine is killed, and nobody loses his client: sleepers of both kinds, waking ones, and
//! those who talk while nobody serves.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::parts::{Peer, Torpor, eventually, nightly};
use crate::takers::Takers;

/// A client, by its number in its user's name and in its tags.
struct Client {
    number: usize,
    peer: Peer,
    /// Commands that it has sent.
    sent: usize,
}

impl Client {
    /// Asleep: every other one behind TCP, the rest behind an AF_UNIX socket as after a TLS login.
    fn asleep(torpor: &Torpor, number: usize, address: &TcpListener) -> Self {
        let (user, session) = (format!("u{number}"), format!("s{number}"));
        let peer: Peer = if number.is_multiple_of(2) {
            let far = TcpStream::connect(address.local_addr().expect("bound")).expect("connected");
            let (near, _) = address.accept().expect("accepted");
            torpor.offer(&user, &session, near.into()).expect("taken");
            far.set_read_timeout(PATIENCE).expect("a socket");
            Box::new(far)
        } else {
            let far = torpor.try_hibernate(&user, &session).expect("taken");
            far.set_read_timeout(PATIENCE).expect("a socket");
            Box::new(far)
        };
        Self { number, peer, sent: 0 }
    }

    /// Ends its IDLE and begins the next one.
    fn idle_again(&mut self) {
        self.sent += 1;
        let text = format!("DONE\r\nc{}x{} IDLE\r\n", self.number, self.sent);
        self.peer.write_all(text.as_bytes()).expect("somebody holds the other end");
    }

    /// Ends its IDLE, which wakes a worker.
    fn done(&mut self) {
        self.sent += 1;
        self.peer.write_all(b"DONE\r\n").expect("somebody holds the other end");
    }

    /// Reads so many bytes; what comes is compared to the byte.
    fn hears(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        let result = self.peer.read_exact(&mut heard);
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(result.is_ok() && heard == text, "client {}: {result:?}, {heard:?}", self.number);
    }
}

/// Kills the engine; says after how many milliseconds the next one serves, as its keeper has it,
/// and when a worker who has waited since has its first answer.
fn killed(torpor: &Torpor, pid: u32) -> (String, Duration) {
    let since = Instant::now();
    torpor.signal_pid(&pid.to_string(), Signal::SIGKILL);
    drop(torpor.try_hibernate("late", "late").expect("taken"));
    let answers = since.elapsed();
    (torpor.logged("engine 1 serves again after ", " ms"), answers)
}

#[test]
fn a_killed_engine_loses_nobody() {
    let count = if nightly() { 15_000 } else { 60 };
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("the soft limit rises");
    let dozers = count / 3;
    let config = format!("[sleep]\ndozers_max = {dozers}\n[wake]\nworkers_max = {count}\n");
    let torpor = Torpor::start(&config);
    let takers = Takers::listen(&torpor.dir().join("imap-master"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mut clients: Vec<Client> =
        (0..count).map(|number| Client::asleep(&torpor, number, &listener)).collect();
    let first = torpor.engine_pids()[0];
    torpor.signal_pid(&first.to_string(), Signal::SIGSTOP);
    // They talk to an engine that does not hear them any more.
    clients[..10].iter_mut().for_each(Client::idle_again);
    clients[10..20].iter_mut().for_each(Client::done);
    let (away, answers) = killed(&torpor, first);
    println!("{count} sleepers: serves again after {away} ms, and answers after {answers:?}");
    assert_ne!(torpor.engine_pids()[0], first);
    for client in &mut clients[..10] {
        let number = client.number;
        client.hears("a1 OK Idle completed.\r\n+ idling\r\n");
        client.idle_again();
        client.hears(&format!("c{number}x1 OK Idle completed.\r\n+ idling\r\n"));
        client.done();
    }
    clients[20..].iter_mut().for_each(Client::done);
    for client in &mut clients {
        client.hears(&format!("taken u{}\r\n", client.number));
    }
    let stats = torpor.json(&["stats"]);
    assert_eq!(stats["counters"]["revived"], count);
    assert_eq!(stats["counters"]["lost"], 0);
    eventually("all are awake", || torpor.json(&["stats"])["counters"]["asleep"] == 0);
    assert_eq!(takers.taken(), count, "each woke once");
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));
