//! What an admin does: who, kick, reload, stop, start.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use torpor::dovecot::{Dovecot, Mailbox, Options, Torpor, Version};

use crate::fleet::{
    Fleet, Sleeper, alone, each, everybody_answers, nobody_lost, quiet, torpor, wait_asleep,
};

#[test]
fn dovecot23_who_and_kick() {
    let (dovecot, mut torpor, mut sleepers) = registered(Version::V23);
    // A kick names a pid here. Whatever Dovecot sends it, nobody may be harmed by it but the
    // user who was meant.
    for arguments in [&["kick", "u00003"][..], &["kick", "-f", "u00003"]] {
        dovecot.doveadm(arguments).expect("doveadm runs");
        thread::sleep(Duration::from_millis(500));
        assert!(torpor.is_running(), "the engine goes on after {arguments:?}");
        others_sleep(&dovecot, &mut sleepers, "u00003");
    }
    torpor_kicks(&dovecot, &torpor, &mut sleepers);
}

#[test]
fn dovecot24_who_and_kick() {
    let (dovecot, mut torpor, mut sleepers) = registered(Version::V24);
    let said = dovecot.doveadm(&["kick", "u00003"]).expect("doveadm runs");
    assert!(said.contains("1 connection"), "the real count: {said}");
    gets_bye(&mut sleepers, "u00003");
    let said = dovecot.doveadm(&["kick", "u00003"]).expect("doveadm runs");
    assert!(!said.contains("1 connection"), "nobody is left of that name: {said}");
    assert!(torpor.is_running());
    others_sleep(&dovecot, &mut sleepers, "u00003");
    torpor_kicks(&dovecot, &torpor, &mut sleepers);
}

/// Twelve sleepers, all of whom `doveadm who` shows, and none that has gone.
fn registered(version: Version) -> (Dovecot, Torpor, Vec<Sleeper>) {
    let dovecot = Dovecot::start(&quiet(version)).expect("a private Dovecot starts");
    let torpor = torpor(&dovecot, "");
    let mut sleepers = Fleet { tls_every: 3, ..Fleet::plain(12) }.launch(&dovecot);
    wait_asleep(&dovecot);
    who_shows(&dovecot, &sleepers);
    let gone = sleepers.pop().expect("there are twelve");
    gone.client.reset().expect("a reset");
    who_shows(&dovecot, &sleepers);
    (dovecot, torpor, sleepers)
}

/// Within a moment `doveadm who` shows exactly these users.
fn who_shows(dovecot: &Dovecot, sleepers: &[Sleeper]) {
    let mut expected: Vec<&str> = sleepers.iter().map(|sleeper| sleeper.user.as_str()).collect();
    expected.sort_unstable();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let who = dovecot.doveadm(&["who"]).expect("doveadm runs");
        let names = who.lines().filter_map(|line| line.split_whitespace().next());
        let mut shown: Vec<&str> = names.filter(|name| name.starts_with("u0")).collect();
        shown.sort_unstable();
        if shown == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{expected:?} sleep, and who shows:\n{who}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn torpor_kicks(dovecot: &Dovecot, torpor: &Torpor, sleepers: &mut Vec<Sleeper>) {
    let said = torpor.control(&["kick", "u00004", "--json"]).expect("torpor kick");
    assert!(said.contains("\"kicked\": 1"), "the real count: {said}");
    gets_bye(sleepers, "u00004");
    sleepers.retain(|sleeper| !["u00003", "u00004"].contains(&sleeper.user.as_str()));
    others_sleep(dovecot, sleepers, "");
    nobody_lost("those who were not kicked", &everybody_answers(sleepers));
}

fn gets_bye(sleepers: &mut [Sleeper], user: &str) {
    let found = sleepers.iter_mut().find(|sleeper| sleeper.user == user);
    let client = &mut found.expect("it was launched").client;
    let (lines, closed) = client.drain(Duration::from_secs(5)).expect("a BYE");
    assert!(closed && lines.len() == 1 && lines[0].starts_with("* BYE"), "{lines:?}");
}

/// Nobody but `kicked` was woken, told anything or closed.
fn others_sleep(dovecot: &Dovecot, sleepers: &mut [Sleeper], kicked: &str) {
    let wrong = each(sleepers, |sleeper| {
        if sleeper.user == kicked {
            return Ok(());
        }
        match sleeper.client.drain(Duration::from_millis(1))? {
            (lines, false) if lines.is_empty() => Ok(()),
            other => Err(io::Error::other(format!("it heard {other:?}"))),
        }
    });
    nobody_lost("those who were not meant", &wrong);
    let awake = dovecot.awake_users();
    assert!(awake.is_empty() || awake.iter().all(|user| user == kicked), "{awake:?}");
}

#[test]
fn dovecot23_reloads_stops_and_starts_under_sleepers() {
    under_sleepers(Version::V23);
}

#[test]
fn dovecot24_reloads_stops_and_starts_under_sleepers() {
    under_sleepers(Version::V24);
}

/// Five hundred plaintext clients sleep through a reload, a stop and a start.
fn under_sleepers(version: Version) {
    let _alone = alone();
    let options = Options { users: 500, ..quiet(version) };
    let mut dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let mut sleepers = Fleet::plain(500).launch(&dovecot);
    wait_asleep(&dovecot);
    dovecot.reload().expect("it reloads");
    all_sleep(&mut sleepers);
    nobody_lost("after a reload", &everybody_answers(&mut sleepers));
    wait_asleep(&dovecot);
    dovecot.stop();
    let waiting = each(&mut sleepers, |sleeper| match sleeper.number % 2 {
        0 => dovecot.mailbox(&sleeper.user).deliver(&Mailbox::message("meanwhile")),
        _ => sleeper.client.send(b"DONE\r\n"),
    });
    nobody_lost("while Dovecot is stopped", &waiting);
    thread::sleep(Duration::from_secs(2));
    all_sleep(&mut sleepers);
    dovecot.start_again().expect("it starts again");
    let woken = each(&mut sleepers, |sleeper| {
        let within = Duration::from_secs(20);
        match sleeper.number % 2 {
            0 => {
                sleeper.client.expect("* 1 EXISTS", within)?;
                sleeper.client.done(&sleeper.tag)?;
            }
            _ => drop(sleeper.client.expect(&format!("{} OK", sleeper.tag), within)?),
        }
        sleeper.tag = sleeper.client.idle()?;
        Ok(())
    });
    nobody_lost("after a stop and a start", &woken);
    wait_asleep(&dovecot);
    nobody_lost("asleep again", &everybody_answers(&mut sleepers));
}

fn all_sleep(sleepers: &mut [Sleeper]) {
    let wrong = each(sleepers, |sleeper| match sleeper.client.drain(Duration::from_millis(1))? {
        (lines, false) if lines.is_empty() => Ok(()),
        other => Err(io::Error::other(format!("it heard {other:?}"))),
    });
    nobody_lost("those who sleep", &wrong);
}
