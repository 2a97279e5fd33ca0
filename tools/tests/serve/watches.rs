//! The engine is killed or replaced under people who sleep on mailboxes: nobody is woken by it, and
//! whatever happens to a mailbox before, meanwhile and afterwards wakes those who sleep on it.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::parts::{Torpor, eventually, nightly};
use crate::sleeper::Sleeper;
use crate::takers::Takers;
use crate::upgrade::programs::{Programs, upgrades};

/// Sleepers with a mailbox each.
struct Mailboxes {
    folder: TempDir,
    takers: Takers,
    sleepers: Vec<Sleeper>,
}

impl Mailboxes {
    fn sleep(torpor: &Torpor, count: usize) -> Self {
        let takers = Takers::listen(&torpor.dir().join("imap-master"));
        let folder = TempDir::new().expect("a folder");
        let mut all = Self { folder, takers, sleepers: Vec::new() };
        all.add(torpor, count);
        all
    }

    /// So many more fall asleep.
    fn add(&mut self, torpor: &Torpor, count: usize) {
        let new = self.sleepers.len()..self.sleepers.len() + count;
        for (number, folder) in new.clone().flat_map(|number| [(number, "new"), (number, "cur")]) {
            fs::create_dir_all(self.of(number).join(folder)).expect("made");
        }
        // What has changed just before is taken for a change that a worker may have missed.
        thread::sleep(LATE);
        for number in new {
            self.sleepers.push(Sleeper::watching(torpor, number, &self.of(number)));
        }
        let all = self.sleepers.len() - self.takers.taken();
        eventually("all sleep", || torpor.json(&["stats"])["counters"]["asleep"] == all);
    }

    fn deliver(&self, number: usize) {
        fs::write(self.of(number).join("new/mail"), "Subject: news\r\n\r\n").expect("delivered");
    }

    /// Those have woken, and nobody else.
    fn are_woken(&mut self, torpor: &Torpor, numbers: impl Iterator<Item = usize>, sum: usize) {
        numbers.for_each(|number| self.sleepers[number].is_taken());
        let counter = |name: &str| torpor.json(&["stats"])["counters"][name].clone();
        let left = self.sleepers.len() - sum;
        eventually("all others sleep", || counter("asleep") == left);
        thread::sleep(Duration::from_millis(100));
        assert_eq!((self.takers.taken(), counter("asleep")), (sum, left.into()));
        assert_eq!(counter("lost"), 0);
    }

    fn of(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }
}

/// `late_change_ms`, and a little.
const LATE: Duration = Duration::from_millis(700);

fn kill(torpor: &Torpor, amid: impl FnOnce()) {
    let pid = torpor.engine_pids()[0];
    torpor.signal_pid(&pid.to_string(), Signal::SIGSTOP);
    amid();
    torpor.signal_pid(&pid.to_string(), Signal::SIGKILL);
}

fn serves(torpor: &Torpor, before: u32) {
    eventually("an heir serves", || torpor.engine_pids().first().is_some_and(|pid| *pid != before));
}

#[test]
fn a_kill_wakes_only_those_whose_mailbox_has_news() {
    let count = if nightly() { 15_000 } else { 40 };
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("the soft limit rises");
    let torpor = Torpor::start(&format!("[wake]\nworkers_max = {count}\n"));
    let mut all = Mailboxes::sleep(&torpor, count);
    all.deliver(0);
    all.are_woken(&torpor, 0..1, 1);
    let first = torpor.engine_pids()[0];
    // Nobody has read of these when it dies, and nobody is there to read of that.
    kill(&torpor, || (1..4).for_each(|number| all.deliver(number)));
    all.deliver(4);
    serves(&torpor, first);
    all.deliver(5);
    all.are_woken(&torpor, 1..6, 6);
    // It may have read of this one, or not.
    all.deliver(6);
    let second = torpor.engine_pids()[0];
    torpor.signal_pid(&second.to_string(), Signal::SIGKILL);
    serves(&torpor, second);
    all.are_woken(&torpor, 6..7, 7);
    let third = torpor.engine_pids()[0];
    kill(&torpor, || ());
    serves(&torpor, third);
    all.are_woken(&torpor, 0..0, 7);
    (7..count).for_each(|number| all.deliver(number));
    all.are_woken(&torpor, 7..count, count);
    let watched = || torpor.json(&["stats"])["counters"]["mailboxes"] != 0;
    eventually("no mailbox is watched", || !watched());
    println!("{count} sleepers with mailboxes, three kills: 7 had news and woke, and no other");
}

/// Mailboxes are watched all the while: with two engines each has its own.
#[test]
fn an_upgrade_wakes_nobody_whose_mailbox_has_no_news() {
    let (torpor, programs) = (Torpor::start("engines = 2\n"), Programs::new());
    let mut all = Mailboxes::sleep(&torpor, 12);
    upgrades(&torpor, &programs.copy("one"));
    all.deliver(0);
    all.are_woken(&torpor, 0..1, 1);
    upgrades(&torpor, &programs.copy("other"));
    all.are_woken(&torpor, 0..0, 1);
    (1..12).for_each(|number| all.deliver(number));
    all.are_woken(&torpor, 1..12, 12);
}

/// What such a one hands on, a script makes of what this one hands on.
#[test]
fn a_keeper_of_before_held_no_watches() {
    let (torpor, programs) = (Torpor::start(""), Programs::new());
    let mut all = Mailboxes::sleep(&torpor, 3);
    let case = "*--resume*) for last; do :; done; paper=/proc/self/fd/$last; \
                text=$(grep -v '^watches = ' $paper); printf '%s\\n' \"$text\" > $paper;;";
    upgrades(&torpor, &programs.script("before", case));
    all.are_woken(&torpor, 0..3, 3);
    // From then on it is as with any other.
    all.add(&torpor, 3);
    upgrades(&torpor, &programs.copy("other"));
    all.are_woken(&torpor, 0..0, 3);
    all.deliver(4);
    all.are_woken(&torpor, 4..5, 4);
}
