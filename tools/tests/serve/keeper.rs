//! The keeper is killed: engines serve on, a new keeper takes them over, and is as good as the old.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::parts::{Torpor, eventually, nightly};
use crate::place::{self, Place};
use crate::sleeper::Sleeper;
use crate::takers::Takers;

/// Keeper and engines are killed in turns while all talk.
fn killed_in_turns(count: usize, rounds: usize) {
    let config = format!("engines = {count}\n[sleep]\ndozers_max = 10\ndoze_secs = 1\n");
    let torpor = Torpor::start(&config);
    let takers = Takers::listen(&torpor.dir().join("imap-master"));
    let mut sleepers: Vec<Sleeper> = (0..30).map(|number| Sleeper::new(&torpor, number)).collect();
    let all = || {
        eventually("all engines answer", || torpor.engine_pids().len() == count);
        torpor.engine_pids()
    };
    for round in 0..rounds {
        let engines = all();
        sleepers.iter_mut().step_by(2).for_each(Sleeper::say);
        torpor.signal(Signal::SIGKILL);
        sleepers.iter_mut().skip(1).step_by(2).for_each(Sleeper::say);
        sleepers.iter_mut().for_each(Sleeper::hears);
        let number = sleepers.len();
        sleepers.push(Sleeper::new(&torpor, number));
        torpor.succeed();
        assert_eq!(all(), engines, "they have noticed nothing");
        sleepers.iter_mut().for_each(Sleeper::say);
        let victim = engines[round % engines.len()];
        torpor.signal_pid(&victim.to_string(), Signal::SIGKILL);
        sleepers.iter_mut().for_each(Sleeper::hears);
        eventually("its heir serves", || {
            let now = torpor.engine_pids();
            now.len() == engines.len() && !now.contains(&victim)
        });
    }
    let stats = torpor.json(&["stats"]);
    assert_eq!(stats["counters"]["asleep"], sleepers.len(), "{}", torpor.log());
    assert_eq!(torpor.json(&["who"])["count"], sleepers.len());
    assert_eq!(stats["counters"]["lost"], 0);
    for sleeper in &mut sleepers {
        sleeper.ends();
        sleeper.is_taken();
    }
    eventually("all are awake", || torpor.json(&["stats"])["counters"]["asleep"] == 0);
    assert_eq!(takers.taken(), sleepers.len(), "each woke once");
    assert!(!torpor.log().contains("panicked"), "{}", torpor.log());
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success(), "{}", torpor.log());
    let left = std::fs::read_dir(torpor.dir()).expect("base_dir").count();
    assert_eq!(left, 1, "only the workers' socket is left");
}

#[test]
fn a_killed_keeper_is_followed_by_another_and_nobody_is_lost() {
    killed_in_turns(1, if nightly() { 100 } else { 10 });
}

#[test]
fn a_killed_keeper_of_two_engines_is_followed_by_another() {
    killed_in_turns(2, if nightly() { 100 } else { 4 });
}

#[test]
fn a_new_keeper_is_as_good_as_the_old() {
    let torpor = Torpor::start("[wake]\nworkers_max = 9\n");
    let mut ann = Sleeper::new(&torpor, 1);
    torpor.signal(Signal::SIGKILL);
    torpor.logged("the keeper has gone", "goes on serving alone");
    torpor.succeed();
    let text = String::from_utf8(torpor.again().stderr).expect("text");
    assert!(text.contains("its keeper lives"), "there is one: {text}");
    // What it is told it passes on, and it makes paths again.
    torpor.configure("[hibernate]\nallowed_uids = [4242]\n[sleep]\nslots_max = 5\n");
    torpor.signal(Signal::SIGHUP);
    torpor.logged("a change in [sleep]", "next start");
    eventually("strangers are refused", || torpor.try_hibernate("eve", "s").is_err());
    torpor.configure("");
    torpor.signal(Signal::SIGHUP);
    eventually("they are not", || torpor.try_hibernate("eve", "s").is_ok());
    std::fs::remove_file(torpor.dir().join("imap-hibernate")).expect("it was there");
    torpor.logged("imap-hibernate had gone and was", "made again");
    let mut bob = Sleeper::new(&torpor, 2);
    assert_eq!(torpor.json(&["kick", "u2"])["kicked"], 1);
    bob.reads("* BYE User kicked.\r\n");
    ann.say();
    ann.hears();
    // The one after it finds the socket that was made anew.
    torpor.signal(Signal::SIGKILL);
    torpor.succeed();
    let mut eve = Sleeper::new(&torpor, 3);
    torpor.signal(Signal::SIGTERM);
    ann.reads("* BYE Server shutting down.\r\n");
    eve.reads("* BYE Server shutting down.\r\n");
    assert!(torpor.wait().success(), "{}", torpor.log());
}

/// What was fixed when the engines started stays so; what it would cost is said.
#[test]
fn a_new_keeper_with_another_configuration_says_what_waits_for_a_restart() {
    let torpor = Torpor::start("engines = 2\n[sleep]\nslots_max = 100\n");
    let mut ann = Sleeper::new(&torpor, 1);
    torpor.signal(Signal::SIGKILL);
    torpor.wait();
    torpor.configure("engines = 1\n[sleep]\nslots_max = 50\n[hibernate]\nallowed_uids = [4242]\n");
    torpor.succeed();
    torpor.logged("a change in engines takes", "next start");
    torpor.logged("a change in [sleep] takes", "next start");
    eventually("both are kept", || torpor.engine_pids().len() == 2);
    assert_eq!(torpor.json(&["stats"])["limits"]["slots_max"], 200);
    eventually("strangers are refused", || torpor.try_hibernate("eve", "s").is_err());
    // An heir, too, is what the dead was.
    let victim = torpor.engine_pids()[1];
    torpor.signal_pid(&victim.to_string(), Signal::SIGKILL);
    torpor.logged("engine 2 serves again after ", " ms");
    eventually("both serve", || torpor.engine_pids().len() == 2);
    assert_eq!(torpor.json(&["stats"])["limits"]["slots_max"], 200);
    torpor.try_hibernate("eve", "s").expect_err("whichever it is");
    ann.say();
    ann.hears();
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success(), "{}", torpor.log());
}

/// A hanging engine hears of no keeper; its heir does.
#[test]
fn an_engine_that_hangs_is_taken_over_and_followed_by_its_heir() {
    let torpor = Torpor::start("");
    let mut ann = Sleeper::new(&torpor, 1);
    let engine = torpor.engine_pids()[0].to_string();
    torpor.signal(Signal::SIGKILL);
    torpor.wait();
    // Afterwards: the kernel wakes a group that loses its last parent.
    torpor.signal_pid(&engine, Signal::SIGSTOP);
    torpor.start_again();
    torpor.is_known_within(Duration::from_secs(30));
    torpor.logged("engine 1 does not answer", "killed");
    assert_ne!(torpor.engine_pids()[0].to_string(), engine);
    ann.say();
    ann.hears();
}

/// Whenever it is killed while it starts, the next one starts, and there is one torpor.
#[test]
fn a_keeper_that_is_killed_while_it_starts_is_in_nobodys_way() {
    let torpor = Torpor::start("engines = 2\n");
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
    for wait_ms in (0..if nightly() { 200 } else { 8 }).map(|step| step * 13) {
        torpor.start_again();
        thread::sleep(Duration::from_millis(wait_ms));
        torpor.signal(Signal::SIGKILL);
        torpor.succeed();
        eventually("both serve", || torpor.engine_pids().len() == 2);
        let mut ann = Sleeper::new(&torpor, 1);
        torpor.signal(Signal::SIGTERM);
        ann.reads("* BYE Server shutting down.\r\n");
        assert!(torpor.wait().success(), "{}", torpor.log());
        eventually("nobody is left", || torpor.processes() == 0);
    }
}

/// Its engine serves already, and it has not heard of that.
#[test]
fn a_keeper_that_is_stopped_while_it_starts_says_bye() {
    let torpor = Torpor::start("");
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
    torpor.start_again();
    eventually("an engine begins", || !torpor.pids("engine").is_empty());
    torpor.signal(Signal::SIGSTOP);
    let mut ann = Sleeper::new(&torpor, 1);
    torpor.signal(Signal::SIGTERM);
    torpor.signal(Signal::SIGCONT);
    ann.reads("* BYE Server shutting down.\r\n");
    assert!(torpor.wait().success(), "{}", torpor.log());
}

/// The engine dies, and the keeper while the heir begins: from the moment in which there is a
/// process of the heir's, it holds its clients itself.
#[test]
fn a_keeper_that_is_killed_after_its_engine_leaves_an_heir() {
    for wait_ms in [8, 12, 20, 40] {
        let torpor = Torpor::start("");
        let mut ann = Sleeper::new(&torpor, 1);
        let engine = torpor.engine_pids()[0];
        torpor.signal_pid(&engine.to_string(), Signal::SIGKILL);
        // The heir may be before its first line, or in the midst of its beginning.
        eventually("there is an heir", || torpor.pids("engine").iter().any(|pid| *pid != engine));
        thread::sleep(Duration::from_millis(wait_ms - 8));
        torpor.signal(Signal::SIGKILL);
        torpor.succeed();
        ann.say();
        ann.hears();
        let stats = torpor.json(&["stats"]);
        assert_eq!(stats["counters"]["asleep"], 1, "{}", torpor.log());
        assert_eq!(stats["counters"]["revived"], 1, "{}", torpor.log());
    }
}

/// Logins and awake clients live on with the front and their workers, and the next keeper looks
/// after all of them.
#[test]
fn a_front_outlives_its_keeper_and_is_taken_over() {
    let place = Place::start("failure_delay_ms_min = 0\nhibernate_after_ms = 0\n");
    let torpor = &place.torpor;
    let log_in = || {
        let mut client = place.connect();
        client.write_all(b"a LOGIN ann pw\r\n").expect("sent");
        let answer = place::line(&mut client);
        assert!(answer.starts_with("a OK "), "{answer}");
        client
    };
    let works = |client: &mut TcpStream| {
        client.write_all(b"b NOOP\r\n").expect("sent");
        assert_eq!(place::line(client), "b OK NOOP completed.");
    };
    let mut ann = log_in();
    let front = torpor.pids("front");
    torpor.signal(Signal::SIGKILL);
    torpor.wait();
    works(&mut ann);
    let mut bob = log_in();
    torpor.succeed();
    works(&mut ann);
    works(&mut bob);
    assert_eq!(torpor.pids("front"), front, "it has noticed nothing");
    assert_eq!(place.stats()["workers"], 2);
    place.add_user("eve");
    torpor.signal(Signal::SIGHUP);
    eventually("it is told of new users", || place.stats()["users"] == 2);
    // A front of its own follows one that was taken over.
    torpor.signal_pid(&front[0].to_string(), Signal::SIGKILL);
    let mut eve = log_in();
    assert_ne!(torpor.pids("front"), front);
    works(&mut eve);
    torpor.signal(Signal::SIGKILL);
    torpor.succeed();
    torpor.signal(Signal::SIGTERM);
    assert!(place::rest(&mut eve).starts_with("* BYE "));
    assert!(torpor.wait().success(), "{}", torpor.log());
    let left = std::fs::read_dir(torpor.dir()).expect("base_dir").count();
    assert_eq!(left, 0, "all sockets are gone");
}
