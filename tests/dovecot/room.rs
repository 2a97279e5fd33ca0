//! A storm goes on as fast as workers end, however few there may be.

use std::time::{Duration, Instant};

use torpor::dovecot::{Dovecot, Version};

use crate::fleet::{Fleet, alone, each, nobody_lost, quiet, torpor, wait_asleep};

#[test]
fn dovecot23_logouts_make_room_for_the_next() {
    logouts(Version::V23);
}

#[test]
fn dovecot24_logouts_make_room_for_the_next() {
    logouts(Version::V24);
}

/// Everybody wakes and logs out at once, and two workers serve them. Counted by age, the last one
/// would wait for 20 minutes.
fn logouts(version: Version) {
    let _alone = alone();
    let dovecot = Dovecot::start(&quiet(version)).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "[wake]\nworkers_max = 2\n");
    let mut sleepers = Fleet { tls_every: 3, ..Fleet::plain(40) }.launch(&dovecot);
    wait_asleep(&dovecot);
    let begin = Instant::now();
    let asked = each(&mut sleepers, |sleeper| sleeper.client.send(b"DONE\r\nx LOGOUT\r\n"));
    nobody_lost("those who leave", &asked);
    let left = each(&mut sleepers, |sleeper| sleeper.client.expect("x OK", WITHIN).map(drop));
    nobody_lost("those who left", &left);
    let took = begin.elapsed();
    assert!(took < WITHIN, "{took:?}");
}

const WITHIN: Duration = Duration::from_secs(10);
