//! The referee: every script of the corpus shows the client the same on a Dovecot whose sessions
//! hibernate in torpor as on one whose sessions never do.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use torpor::dovecot::{Dovecot, Options, Version};

use crate::fleet::{quiet, torpor};
use crate::play::play;
use crate::script::{Script, corpus};

/// Plays the corpus on both and panics with every difference.
fn compare(reference: &Dovecot, subject: &Dovecot, tls: bool, hibernates: bool) {
    let scripts = corpus();
    let first_user = if tls { 1 + scripts.len() } else { 1 };
    let jobs: VecDeque<(usize, &Script)> = scripts.iter().enumerate().collect();
    let jobs = Mutex::new(jobs);
    let differences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(scripts.len()) {
            scope.spawn(|| {
                while let Some((number, script)) = next(&jobs) {
                    let number = u32::try_from(first_user + number).expect("a user's number");
                    let user = Options::user(number);
                    let (expected, shown) = thread::scope(|both| {
                        let expected = both.spawn(|| play(script, reference, &user, tls, false));
                        let shown = play(script, subject, &user, tls, hibernates);
                        (expected.join().expect("the reference was played"), shown)
                    });
                    let found = match (expected, shown) {
                        (Ok(expected), Ok(shown)) if expected.lines == shown.lines => continue,
                        (Ok(expected), Ok(shown)) => format!(
                            "{}: lines differ\n{}\n{}",
                            script.name,
                            difference(&expected.lines, &shown.lines),
                            shown.bytes
                        ),
                        (Err(error), _) => format!("reference: {error}"),
                        (_, Err(error)) => error,
                    };
                    differences.lock().expect("no thread panicked").push(found);
                }
            });
        }
    });
    let differences = differences.into_inner().expect("no thread panicked");
    let count = differences.len();
    assert!(count == 0, "{count} of {} scripts:\n{}", scripts.len(), differences.join("\n"));
}

fn next<'a>(jobs: &Mutex<VecDeque<(usize, &'a Script)>>) -> Option<(usize, &'a Script)> {
    jobs.lock().expect("no thread panicked").pop_front()
}

fn difference(expected: &[String], shown: &[String]) -> String {
    let same = expected.iter().zip(shown).take_while(|(left, right)| left == right).count();
    let tail = |lines: &[String]| lines[same..].iter().take(6).cloned().collect::<Vec<_>>();
    format!(
        "  after {same} lines\n  never hibernated: {:?}\n  hibernated:       {:?}",
        tail(expected),
        tail(shown)
    )
}

/// Two runs on Dovecots that never hibernate agree, so a difference elsewhere means something.
fn the_scripts_are_deterministic(version: Version) {
    let options = Options { hibernate_timeout_secs: 0, users: 300, ..quiet(version) };
    let one = Dovecot::start(&options).expect("a private Dovecot starts");
    let two = Dovecot::start(&options).expect("a private Dovecot starts");
    compare(&one, &two, false, false);
    compare(&one, &two, true, false);
}

#[test]
fn dovecot23_plays_the_corpus_alike_twice() {
    the_scripts_are_deterministic(Version::V23);
}

#[test]
fn dovecot24_plays_the_corpus_alike_twice() {
    the_scripts_are_deterministic(Version::V24);
}
/// Hibernated in torpor, every script shows the client what it shows without hibernation.
fn a_sleeper_sees_the_same(version: Version, tls: bool) {
    let awake = Options { hibernate_timeout_secs: 0, users: 300, ..quiet(version) };
    let reference = Dovecot::start(&awake).expect("a private Dovecot starts");
    let sleepy = Options { hibernate_timeout_secs: 1, ..awake };
    let subject = Dovecot::start(&sleepy).expect("a private Dovecot starts");
    let _torpor = torpor(&subject, "");
    compare(&reference, &subject, tls, true);
}

#[test]
fn dovecot23_sleepers_see_the_same() {
    a_sleeper_sees_the_same(Version::V23, false);
}

#[test]
fn dovecot24_sleepers_see_the_same() {
    a_sleeper_sees_the_same(Version::V24, false);
}

#[test]
fn dovecot23_sleepers_see_the_same_over_tls() {
    a_sleeper_sees_the_same(Version::V23, true);
}

#[test]
fn dovecot24_sleepers_see_the_same_over_tls() {
    a_sleeper_sees_the_same(Version::V24, true);
}

/// Enough that the waiting overlaps, few enough for two cores.
const AT_ONCE: usize = 16;
