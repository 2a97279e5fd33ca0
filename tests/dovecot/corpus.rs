//! The referee: every script of the corpus shows the client the same on a Dovecot whose sessions
//! hibernate in torpor as on one whose sessions never do.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use torpor::dovecot::{Dovecot, Options, Version};

use crate::fleet::{quiet, torpor};
use crate::play::play;
use crate::script::{Script, corpus};

/// Plays the scripts that `are_meant` on both and panics with every difference. Each has a user of
/// its own by its place in the corpus.
fn compare(
    are_meant: impl Fn(&Script) -> bool,
    reference: &Dovecot,
    subject: &Dovecot,
    tls: bool,
    hibernates: bool,
) {
    let scripts = corpus();
    let first_user = if tls { 1 + scripts.len() } else { 1 };
    let jobs: VecDeque<(usize, &Script)> =
        scripts.iter().enumerate().filter(|(_, script)| are_meant(script)).collect();
    let played = jobs.len();
    assert!(played >= 2, "{played} scripts");
    let jobs = Mutex::new(jobs);
    let differences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(played) {
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
    assert!(count == 0, "{count} of {played} scripts:\n{}", differences.join("\n"));
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

/// Users enough for all scripts twice, and the plugins that some of them speak of.
pub fn ground(version: Version) -> Options {
    let extra_config = match version {
        Version::V23 => include_str!("plugins23.conf"),
        Version::V24 => include_str!("plugins24.conf"),
    };
    Options { users: 300, extra_config: extra_config.to_owned(), ..quiet(version) }
}

/// Two runs on Dovecots that never hibernate agree, so a difference elsewhere means something.
fn the_scripts_are_deterministic(version: Version) {
    let options = Options { hibernate_timeout_secs: 0, ..ground(version) };
    let one = Dovecot::start(&options).expect("a private Dovecot starts");
    let two = Dovecot::start(&options).expect("a private Dovecot starts");
    compare(|_| true, &one, &two, false, false);
    compare(|_| true, &one, &two, true, false);
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
    let awake = Options { hibernate_timeout_secs: 0, ..ground(version) };
    let reference = Dovecot::start(&awake).expect("a private Dovecot starts");
    let sleepy = Options { hibernate_timeout_secs: 1, ..awake };
    let subject = Dovecot::start(&sleepy).expect("a private Dovecot starts");
    let _torpor = torpor(&subject, "");
    compare(|script| script.keep_awake.is_none(), &reference, &subject, tls, true);
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

/// Each further value of `hibernate.keep_awake`, with the scripts that are for it.
fn keeps_awake_whom_it_is_told(version: Version) {
    let sleepy = ground(version);
    let awake = Options { hibernate_timeout_secs: 0, ..sleepy.clone() };
    let reference = Dovecot::start(&awake).expect("a private Dovecot starts");
    for value in ["nobody", "condstore"] {
        let subject = Dovecot::start(&sleepy).expect("a private Dovecot starts");
        let _torpor = torpor(&subject, &format!("[hibernate]\nkeep_awake = \"{value}\"\n"));
        let is_meant = |script: &Script| script.keep_awake.as_deref() == Some(value);
        compare(is_meant, &reference, &subject, false, true);
    }
}

#[test]
fn dovecot23_keeps_awake_whom_it_is_told() {
    keeps_awake_whom_it_is_told(Version::V23);
}

#[test]
fn dovecot24_keeps_awake_whom_it_is_told() {
    keeps_awake_whom_it_is_told(Version::V24);
}

/// Enough that the waiting overlaps, few enough for two cores.
const AT_ONCE: usize = 16;
