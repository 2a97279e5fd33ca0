//! Hundreds of clients asleep at once, a third of them over TLS, woken for every reason there is.

use std::io;
use std::thread;
use std::time::Duration;

use torpor::dovecot::{Client, Dovecot, Mailbox, Options, Version};

use crate::fleet::{
    Fleet, Opened, Sleeper, alone, each, everybody_answers, nightly, nobody_lost, quiet, torpor,
    wait_asleep,
};

#[test]
fn dovecot23_wakes_hundreds_for_every_reason() {
    hundreds(Version::V23);
}

#[test]
fn dovecot24_wakes_hundreds_for_every_reason() {
    hundreds(Version::V24);
}

fn hundreds(version: Version) {
    let _alone = alone();
    let count = if nightly() { 1000 } else { 500 };
    let options = Options { users: count, ..quiet(version) };
    let dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let opened = |number| match Reason::of(number) {
        Reason::NothingSelected => Opened::Nothing,
        Reason::ExaminedMail => Opened::Examined,
        _ => Opened::Inbox,
    };
    let fleet = Fleet { tls_every: 3, messages: 2, opened, ..Fleet::plain(count) };
    let mut sleepers = fleet.launch(&dovecot);
    wait_asleep(&dovecot);
    let wrong = each(&mut sleepers, |sleeper| cause(&dovecot, sleeper));
    nobody_lost("the causes of the wakes", &wrong);
    nobody_lost("the wakes", &each(&mut sleepers, effect));
    sleepers.retain(|sleeper| !Reason::of(sleeper.number).ends());
    wait_asleep(&dovecot);
    nobody_lost("everybody who slept again", &everybody_answers(&mut sleepers));
}

/// Why one of them wakes, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Mail,
    Flag,
    Expunge,
    Done,
    DoneIdle,
    DoneSplit,
    DonePipelined,
    Garbage,
    NothingSelected,
    ExaminedMail,
    HalfClose,
    Reset,
    None,
}

impl Reason {
    const ALL: [Reason; 13] = [
        Reason::Mail,
        Reason::Flag,
        Reason::Expunge,
        Reason::Done,
        Reason::DoneIdle,
        Reason::DoneSplit,
        Reason::DonePipelined,
        Reason::Garbage,
        Reason::NothingSelected,
        Reason::ExaminedMail,
        Reason::HalfClose,
        Reason::Reset,
        Reason::None,
    ];

    fn of(number: u32) -> Reason {
        Reason::ALL[number as usize % Reason::ALL.len()]
    }

    fn ends(self) -> bool {
        matches!(self, Reason::HalfClose | Reason::Reset)
    }
}

/// Makes the reason happen.
fn cause(dovecot: &Dovecot, sleeper: &mut Sleeper) -> io::Result<()> {
    let client = &mut sleeper.client;
    match Reason::of(sleeper.number) {
        Reason::Mail | Reason::ExaminedMail => {
            dovecot.mailbox(&sleeper.user).deliver(&Mailbox::message("news"))
        }
        Reason::Flag => other(dovecot, &sleeper.user, &["STORE 1 +FLAGS (\\Flagged)"]),
        Reason::Expunge => {
            other(dovecot, &sleeper.user, &["STORE 2 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"])
        }
        Reason::Done | Reason::NothingSelected => client.send(b"DONE\r\n"),
        Reason::DoneIdle => client.send(b"DONE\r\nsecond IDLE\r\n"),
        Reason::DoneSplit => {
            let (head, tail) = b"DONE\r\n".split_at(1 + sleeper.number as usize % 5);
            client.send_pieces(&[head, tail], Duration::from_millis(30))
        }
        Reason::DonePipelined => client.send(b"DONE\r\nx NOOP\r\ny SEARCH ALL\r\nz IDLE\r\n"),
        Reason::Garbage => client.send(b"FOO BAR\r\n"),
        Reason::HalfClose => client.half_close(),
        Reason::Reset => break_off(dovecot, sleeper),
        Reason::None => Ok(()),
    }
}

/// Sees its effect, and leaves the client in IDLE.
fn effect(sleeper: &mut Sleeper) -> io::Result<()> {
    let (client, tag) = (&mut sleeper.client, sleeper.tag.clone());
    match Reason::of(sleeper.number) {
        Reason::Mail | Reason::ExaminedMail => client.expect("* 3 EXISTS", WITHIN).map(drop),
        Reason::Flag => {
            let flagged = |line: &str| line.starts_with("* 1 FETCH") && line.contains("Flagged");
            client.expect_that("the flag", WITHIN, flagged).map(drop)
        }
        Reason::Expunge => client.expect("* 2 EXPUNGE", WITHIN).map(drop),
        Reason::Done | Reason::NothingSelected | Reason::DoneSplit => {
            client.expect(&format!("{tag} OK"), WITHIN)?;
            sleeper.tag = client.idle()?;
            Ok(())
        }
        Reason::DoneIdle => {
            client.expect(&format!("{tag} OK"), WITHIN)?;
            client.expect("+ ", WITHIN)?;
            sleeper.tag = "second".to_owned();
            Ok(())
        }
        Reason::DonePipelined => {
            client.expect(&format!("{tag} OK"), WITHIN)?;
            // The worker may finish them in another order than they were sent in.
            let lines = client.expect("+ ", WITHIN)?.join("\n");
            sleeper.tag = "z".to_owned();
            let both = lines.contains("x OK") && lines.contains("y OK");
            if both { Ok(()) } else { Err(io::Error::other(lines)) }
        }
        Reason::Garbage => {
            client.expect(&format!("{tag} BAD"), WITHIN)?;
            let more = client.command("NOOP")?;
            let bad = more.iter().filter(|line| line.contains(" BAD ")).count();
            sleeper.tag = client.idle()?;
            if bad == 0 { Ok(()) } else { Err(io::Error::other(format!("{more:?}"))) }
        }
        Reason::HalfClose => match client.drain(WITHIN)? {
            (lines, true) if lines.is_empty() => Ok(()),
            other => Err(io::Error::other(format!("after its half-close: {other:?}"))),
        },
        Reason::Reset | Reason::None => Ok(()),
    }
}

/// Resets the connection; a new login takes its place and proves that the mailbox is well.
fn break_off(dovecot: &Dovecot, sleeper: &mut Sleeper) -> io::Result<()> {
    let mut client = Client::login(dovecot.endpoint(false), &sleeper.user, "pw")?;
    std::mem::swap(&mut client, &mut sleeper.client);
    client.reset()?;
    sleeper.client.command("SELECT INBOX")?;
    sleeper.client.command("LOGOUT").map(drop)
}

/// Another session of the user does this, with pauses in which the sleeper may wake.
fn other(dovecot: &Dovecot, user: &str, commands: &[&str]) -> io::Result<()> {
    let mut other = Client::login(dovecot.endpoint(false), user, "pw")?;
    other.command("SELECT INBOX")?;
    for command in commands {
        other.command(command)?;
        thread::sleep(Duration::from_millis(20));
    }
    other.command("LOGOUT").map(drop)
}

const WITHIN: Duration = Duration::from_secs(20);
