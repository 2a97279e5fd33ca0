//! What depends on the moment: mail just before hibernation, and keepalives.

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use torpor::dovecot::{Dovecot, Mailbox, Options, Version};

use crate::fleet::{Fleet, alone, each, nobody_lost, quiet, torpor, wait_asleep};

#[test]
fn dovecot23_announces_mail_that_came_just_before() {
    late_mail(Version::V23);
}

#[test]
fn dovecot24_announces_mail_that_came_just_before() {
    late_mail(Version::V24);
}

/// Mail 0.1 to 0.9 s before the moment of hibernation is announced, fifty of fifty.
fn late_mail(version: Version) {
    let _alone = alone();
    let dovecot = Dovecot::start(&quiet(version)).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let fleet = Fleet { tls_every: 3, ..Fleet::plain(50) };
    let mut sleepers = fleet.launch(&dovecot);
    wait_asleep(&dovecot);
    // Sixteen at a time would shift the moments, so each one has a thread of its own.
    thread::scope(|scope| {
        for sleeper in &mut sleepers {
            let mailbox = dovecot.mailbox(&sleeper.user);
            scope.spawn(move || {
                sleeper.client.done(&sleeper.tag).expect("DONE is answered");
                let staged = mailbox.stage(&Mailbox::message("late")).expect("a message");
                // The starts are spread over a second, so that the workers do not stand in line.
                thread::sleep(Duration::from_millis(u64::from(sleeper.number) * 20));
                sleeper.tag = sleeper.client.idle().expect("IDLE");
                let before = 100 + 800 * u64::from(sleeper.number - 1) / 49;
                thread::sleep(Duration::from_millis(1000 - before));
                staged.release().expect("a delivery");
            });
        }
    });
    let announced = each(&mut sleepers, |sleeper| {
        sleeper.client.expect("* 1 EXISTS", Duration::from_secs(5)).map(drop)
    });
    nobody_lost("mail just before hibernation", &announced);
}

#[test]
fn dovecot23_keepalives_are_on_time() {
    keepalives(Version::V23);
}

#[test]
fn dovecot24_keepalives_are_on_time() {
    keepalives(Version::V24);
}

/// `* OK Still here` comes in every interval, in the second that Dovecot's schedule names.
fn keepalives(version: Version) {
    let _alone = alone();
    let options = Options { idle_notify_secs: INTERVAL_SECS as u32, ..Options::new(version) };
    let dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let fleet = Fleet { tls_every: 3, ..Fleet::plain(16) };
    let mut sleepers = fleet.launch(&dovecot);
    wait_asleep(&dovecot);
    let asleep = Instant::now();
    let wrong = each(&mut sleepers, |sleeper| {
        for beat in 1..=BEATS {
            let due = Duration::from_millis((INTERVAL_SECS * beat) * 1000 + 1300);
            let left = due.saturating_sub(asleep.elapsed());
            let lines = sleeper.client.expect("* OK Still here", left)?;
            let second = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
            let phase = (second.as_secs() + LOOPBACK_HASH) % INTERVAL_SECS;
            // It was armed somewhere inside its second and may be late by a little.
            if lines.len() != 1 || phase > 1 {
                return Err(io::Error::other(format!("beat {beat}: phase {phase}, {lines:?}")));
            }
        }
        Ok(())
    });
    nobody_lost("keepalives", &wrong);
    assert!(dovecot.imap_pids().is_empty(), "nobody was woken for a keepalive");
}

const INTERVAL_SECS: u64 = 5;
const BEATS: u64 = 3;
/// 127.0.0.1 as a number in the byte order of this host: what spreads the keepalives of
/// different clients, and lets those of one host come together.
const LOOPBACK_HASH: u64 = u32::from_ne_bytes([127, 0, 0, 1]) as u64;
