//! One client, cycle after cycle: asleep, a mail, woken, fetched, asleep again.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use torpor::dovecot::{Mailbox, Options, Process};

use crate::binary;
use crate::ground::Ground;
use crate::programs::Account;
use crate::sink::Sink;

/// Runs the client that `program` starts on a server of its own.
pub fn run(program: fn(&Account<'_>) -> io::Result<Command>, ground: &Ground) {
    let binary = binary::release().expect("torpor builds");
    let base_dir = ground.base_dir();
    let sink = Sink::open().expect("a port for the sink");
    let user = Options::user(1);
    let account = Account {
        endpoint: ground.endpoint(),
        user: &user,
        sink_port: sink.port,
        dir: &ground.client_dir(),
    };
    // A mail before the first login makes the mailbox, and is the client's first to fetch.
    ground.mailbox(&user).deliver(&Mailbox::message("first")).expect("a delivery");
    let command = program(&account).expect("the client's configuration is written");
    let mut client = Process::spawn(&command).expect("the client starts");
    assert_eq!(fetched(&sink, &mut client), "first");
    for number in 1..=cycles() {
        let before = asleep(&binary, &base_dir, &mut client);
        let subject = format!("cycle-{number}");
        ground.mailbox(&user).deliver(&Mailbox::message(&subject)).expect("a delivery");
        assert_eq!(fetched(&sink, &mut client), subject);
        let after = counters(&binary, &base_dir).expect("statistics");
        assert!(after.unhibernated > before.unhibernated, "cycle {number}: it was not woken");
        assert!(after.hibernated >= after.unhibernated, "woken more often than asleep");
    }
    let last = counters(&binary, &base_dir).expect("statistics");
    assert!(last.hibernated >= u64::from(cycles()), "{last:?}");
    assert_eq!((last.refused, last.lost), (0, 0), "{last:?}");
    assert!(Path::new(&format!("/proc/{}", ground.torpor_pid())).exists(), "torpor still serves");
}

/// Waits until the client sleeps in torpor and returns the counters of that moment.
fn asleep(binary: &Path, base_dir: &Path, client: &mut Process) -> Counters {
    let deadline = Instant::now() + ASLEEP_WITHIN;
    loop {
        let counters = counters(binary, base_dir).expect("statistics");
        if counters.asleep == 1 {
            return counters;
        }
        let ended = client.wait(Duration::from_millis(50));
        assert!(ended.is_none(), "the client has ended: {ended:?}");
        assert!(Instant::now() < deadline, "the client does not fall asleep: {counters:?}");
    }
}

/// The subject of the next mail that the client has fetched.
fn fetched(sink: &Sink, client: &mut Process) -> String {
    let deadline = Instant::now() + FETCHED_WITHIN;
    loop {
        if let Ok(subject) = sink.next(Duration::from_millis(100)) {
            return subject;
        }
        let ended = client.wait(Duration::ZERO);
        assert!(ended.is_none(), "the client has ended: {ended:?}");
        assert!(Instant::now() < deadline, "the client fetches nothing");
    }
}

/// What torpor says of itself.
#[derive(Debug)]
struct Counters {
    asleep: u64,
    hibernated: u64,
    unhibernated: u64,
    refused: u64,
    lost: u64,
}

fn counters(binary: &Path, base_dir: &Path) -> io::Result<Counters> {
    let mut command = Command::new(binary);
    let output = command.args(["stats", "--json", "--base-dir"]).arg(base_dir).output()?;
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        io::Error::other(format!("torpor stats: {error}: {errors}"))
    })?;
    let count = |name: &str| {
        let value = stats["counters"][name].as_u64();
        value.ok_or_else(|| io::Error::other(format!("torpor stats has no counter {name:?}")))
    };
    Ok(Counters {
        asleep: count("asleep")?,
        hibernated: count("hibernated")?,
        unhibernated: count("unhibernated")?,
        refused: count("refused")?,
        lost: count("lost")?,
    })
}

fn cycles() -> u32 {
    let usual = if std::env::var_os("TORPOR_NIGHTLY").is_some() { 20 } else { 5 };
    let wanted = std::env::var("TORPOR_CYCLES").ok();
    wanted.map_or(usual, |text| text.parse().expect("TORPOR_CYCLES is a number"))
}

const ASLEEP_WITHIN: Duration = Duration::from_secs(30);
/// fetchmail asks whether its IDLE still lives only every so often.
const FETCHED_WITHIN: Duration = Duration::from_secs(60);
