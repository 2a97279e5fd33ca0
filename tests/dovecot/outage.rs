//! imap-master is absent, or somebody else in its place: no client is lost, and everybody who
//! waits is woken within two seconds of the worker's return.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use torpor::dovecot::{Dovecot, Mailbox, Version};

use crate::fake::{Fake, Manner};
use crate::fleet::{
    Fleet, Sleeper, alone, each, everybody_answers, nightly, nobody_lost, quiet, torpor,
    wait_asleep,
};

#[test]
fn dovecot23_workers_are_absent() {
    absent(Version::V23);
}

#[test]
fn dovecot24_workers_are_absent() {
    absent(Version::V24);
}

/// Half of the time the connection is refused, half of the time there is no socket.
fn absent(version: Version) {
    let half = Duration::from_secs(if nightly() { 30 } else { 5 });
    let _alone = alone();
    let dovecot = Dovecot::start(&quiet(version)).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let mut sleepers = Fleet { tls_every: 3, ..Fleet::plain(60) }.launch(&dovecot);
    wait_asleep(&dovecot);
    let door = Door::shut(&dovecot);
    drop(UnixListener::bind(&door.path).expect("a socket that nobody serves"));
    someone_wants_in(&dovecot, &mut sleepers);
    thread::sleep(half);
    fs::remove_file(&door.path).expect("the socket goes");
    thread::sleep(half);
    all_are_there(&mut sleepers);
    door.open();
    everybody_comes(&mut sleepers);
    wait_asleep(&dovecot);
    nobody_lost("after the outage", &everybody_answers(&mut sleepers));
}

#[test]
fn dovecot23_workers_behave_otherwise() {
    otherwise(Version::V23);
}

#[test]
fn dovecot24_workers_behave_otherwise() {
    otherwise(Version::V24);
}

/// One after the other, every manner in which a client remains torpor's.
fn otherwise(version: Version) {
    let _alone = alone();
    let dovecot = Dovecot::start(&quiet(version)).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let mut sleepers = Fleet { tls_every: 3, ..Fleet::plain(30) }.launch(&dovecot);
    for manner in Manner::RETRIED {
        wait_asleep(&dovecot);
        let door = Door::shut(&dovecot);
        let fake = Fake::listen(&door.path, manner).expect("a fake imap-master");
        someone_wants_in(&dovecot, &mut sleepers);
        thread::sleep(Duration::from_secs(2));
        assert!(fake.met() > 0, "{manner:?}: torpor came to the fake");
        all_are_there(&mut sleepers);
        drop(fake);
        door.open();
        everybody_comes(&mut sleepers);
    }
    wait_asleep(&dovecot);
    nobody_lost("after all manners", &everybody_answers(&mut sleepers));
}

#[test]
fn dovecot23_worker_keeps_a_client_and_says_nothing() {
    kept(Version::V23);
}

#[test]
fn dovecot24_worker_keeps_a_client_and_says_nothing() {
    kept(Version::V24);
}

/// The client is held until the limit, then shut down and logged; the others do not notice.
fn kept(version: Version) {
    let _alone = alone();
    let dovecot = Dovecot::start(&quiet(version)).expect("a private Dovecot starts");
    let torpor = torpor(&dovecot, "[wake]\nack_timeout_ms = 3000\n");
    let mut sleepers = Fleet::plain(10).launch(&dovecot);
    wait_asleep(&dovecot);
    let door = Door::shut(&dovecot);
    let fake = Fake::listen(&door.path, Manner::SilentHolding).expect("a fake imap-master");
    let begin = Instant::now();
    sleepers[0].client.send(b"DONE\r\n").expect("its connection stands");
    let (lines, closed) = sleepers[0].client.drain(Duration::from_secs(10)).expect("a close");
    let held = begin.elapsed();
    assert!(closed && lines.is_empty(), "it was shut down without a word: {lines:?}");
    let limit = Duration::from_secs(3);
    assert!(held >= limit && held < limit + Duration::from_secs(2), "held for {held:?}");
    let said = Instant::now() + Duration::from_secs(2);
    while !torpor.log().contains(&sleepers[0].user) {
        assert!(Instant::now() < said, "it was logged:\n{}", torpor.log());
        thread::sleep(Duration::from_millis(20));
    }
    all_are_there(&mut sleepers[1..]);
    drop(fake);
    door.open();
    nobody_lost("the others", &everybody_answers(&mut sleepers[1..]));
}

/// Dovecot's own `imap-master`, moved aside; a renamed socket goes on listening.
struct Door {
    path: PathBuf,
    aside: PathBuf,
}

impl Door {
    fn shut(dovecot: &Dovecot) -> Door {
        let path = dovecot.base_dir().join("imap-master");
        let aside = dovecot.base_dir().join("imap-master.aside");
        fs::rename(&path, &aside).expect("imap-master is moved aside");
        Door { path, aside }
    }

    fn open(self) {
        fs::rename(&self.aside, &self.path).expect("imap-master is moved back");
    }
}

/// A third gets mail, a third says DONE, a third sleeps on.
fn someone_wants_in(dovecot: &Dovecot, sleepers: &mut [Sleeper]) {
    let wrong = each(sleepers, |sleeper| match sleeper.number % 3 {
        0 => dovecot.mailbox(&sleeper.user).deliver(&Mailbox::message("meanwhile")),
        1 => sleeper.client.send(b"DONE\r\n"),
        _ => Ok(()),
    });
    nobody_lost("those who want in", &wrong);
}

/// Every connection stands, and nobody has heard anything.
fn all_are_there(sleepers: &mut [Sleeper]) {
    let wrong = each(sleepers, |sleeper| match sleeper.client.drain(Duration::from_millis(1))? {
        (lines, false) if lines.is_empty() => Ok(()),
        other => Err(std::io::Error::other(format!("while it waited: {other:?}"))),
    });
    nobody_lost("those who wait", &wrong);
}

/// The worker is back from now on.
fn everybody_comes(sleepers: &mut [Sleeper]) {
    let deadline = Instant::now() + Duration::from_secs(2);
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let woken = each(sleepers, |sleeper| match sleeper.number % 3 {
        0 => {
            let exists = |line: &str| line.ends_with(" EXISTS");
            sleeper.client.expect_that("EXISTS", left(), exists).map(drop)
        }
        1 => sleeper.client.expect(&format!("{} OK", sleeper.tag), left()).map(drop),
        _ => Ok(()),
    });
    nobody_lost("woken within two seconds", &woken);
    let again = each(sleepers, |sleeper| {
        match sleeper.number % 3 {
            1 => {}
            _ => drop(sleeper.client.done(&sleeper.tag)?),
        }
        sleeper.tag = sleeper.client.idle()?;
        Ok(())
    });
    nobody_lost("asleep again", &again);
}
