//! Many clients at once, in a few threads.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use torpor::dovecot::{Client, Dovecot, Options, Torpor, Version, raise_open_files};

/// One client in IDLE.
pub struct Sleeper {
    pub number: u32,
    pub user: String,
    pub client: Client,
    /// The tag of its IDLE.
    pub tag: String,
}

/// What is selected before IDLE begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Inbox,
    Examined,
    Nothing,
}

/// How many, and how.
pub struct Fleet {
    pub first: u32,
    pub count: u32,
    /// Every which client is logged in over TLS; 0 = none.
    pub tls_every: u32,
    /// Messages that lie in every mailbox beforehand.
    pub messages: u32,
    pub opened: fn(u32) -> Opened,
}

impl Fleet {
    /// Clients with their INBOX selected, all over plain TCP.
    pub fn plain(count: u32) -> Fleet {
        Fleet { first: 1, count, tls_every: 0, messages: 0, opened: |_| Opened::Inbox }
    }

    /// Logs everybody in and sends IDLE.
    pub fn launch(&self, dovecot: &Dovecot) -> Vec<Sleeper> {
        raise_open_files();
        let numbers: Vec<u32> = (self.first..self.first + self.count).collect();
        let parts = numbers.chunks(numbers.len().div_ceil(THREADS));
        thread::scope(|scope| {
            let launch = |part: &[u32]| {
                let one = |number: &u32| self.one(dovecot, *number).expect("a client logs in");
                part.iter().map(one).collect::<Vec<_>>()
            };
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || launch(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a login thread")).collect()
        })
    }

    fn one(&self, dovecot: &Dovecot, number: u32) -> io::Result<Sleeper> {
        let user = Options::user(number);
        let mailbox = dovecot.mailbox(&user);
        for _ in 0..self.messages {
            mailbox.deliver("Subject: before\r\n\r\nbefore\r\n")?;
        }
        let tls = self.tls_every > 0 && number.is_multiple_of(self.tls_every);
        let mut client = Client::login(dovecot.endpoint(tls), &user, "pw")?;
        match (self.opened)(number) {
            Opened::Inbox => drop(client.command("SELECT INBOX")?),
            Opened::Examined => drop(client.command("EXAMINE INBOX")?),
            Opened::Nothing => {}
        }
        let tag = client.idle()?;
        Ok(Sleeper { number, user, client, tag })
    }
}

/// Does the same with every client, a few at a time; returns what went wrong.
pub fn each(
    sleepers: &mut [Sleeper],
    act: impl Fn(&mut Sleeper) -> io::Result<()> + Sync,
) -> Vec<String> {
    let wrong = Mutex::new(Vec::new());
    let part = sleepers.len().div_ceil(THREADS).max(1);
    thread::scope(|scope| {
        for sleepers in sleepers.chunks_mut(part) {
            scope.spawn(|| {
                for sleeper in sleepers {
                    if let Err(error) = act(sleeper) {
                        let (user, bytes) = (&sleeper.user, sleeper.client.transcript());
                        let text = format!("{user}: {error}\n{bytes}");
                        wrong.lock().expect("no thread panicked").push(text);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no thread panicked")
}

/// Everybody says DONE, gets an answer and idles again; returns what went wrong.
pub fn everybody_answers(sleepers: &mut [Sleeper]) -> Vec<String> {
    each(sleepers, |sleeper| {
        sleeper.client.done(&sleeper.tag)?;
        sleeper.client.command("NOOP")?;
        sleeper.tag = sleeper.client.idle()?;
        Ok(())
    })
}

/// Panics with the first few of what went wrong.
pub fn nobody_lost(what: &str, wrong: &[String]) {
    let shown: Vec<&str> = wrong.iter().take(5).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{what}: {} lost\n{}", wrong.len(), shown.join("\n"));
}

/// Waits until no worker is left, so that everybody who still has a connection is asleep.
pub fn wait_asleep(dovecot: &Dovecot) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !dovecot.imap_pids().is_empty() {
        let (left, log) = (dovecot.awake_users(), dovecot.log());
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        assert!(Instant::now() < deadline, "still awake: {left:?}\nlast logged: {tail:#?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Dovecots for tests in which nobody may hear an unexpected word: keepalives once a day.
pub fn quiet(version: Version) -> Options {
    Options { idle_notify_secs: 86_400, ..Options::new(version) }
}

/// The torpor under test, beside `dovecot`.
pub fn torpor(dovecot: &Dovecot, config: &str) -> Torpor {
    let binary = std::env::var_os("TORPOR_BIN").map(PathBuf::from);
    let binary = binary.unwrap_or_else(|| PathBuf::from("target/release/torpor"));
    Torpor::start(&binary, dovecot, config).expect("torpor starts")
}

/// Tests with many clients, or with a clock, run one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The bigger sizes.
pub fn nightly() -> bool {
    std::env::var_os("TORPOR_NIGHTLY").is_some()
}

const THREADS: usize = 16;
