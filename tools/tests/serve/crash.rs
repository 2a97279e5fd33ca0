//! The engine is killed, and nobody loses his client: sleepers of both kinds, waking ones, and
//! those who talk while nobody serves.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::parts::{Torpor, eventually, nightly};
use crate::sleeper::Sleeper;
use crate::takers::Takers;

/// Kills the engine; says after how many milliseconds the next one serves, as its keeper has it,
/// and when a worker who has waited since has its first answer. The dying one may take her
/// connection with it, and she keeps her client: she asks again.
fn killed(torpor: &Torpor, pid: u32) -> (String, Duration) {
    let since = Instant::now();
    torpor.signal_pid(&pid.to_string(), Signal::SIGKILL);
    while let Err(said) = torpor.try_hibernate("late", "late") {
        assert_eq!(said, "", "hung up on, never refused");
        assert!(since.elapsed() < Duration::from_secs(5), "{}", torpor.log());
    }
    let answers = since.elapsed();
    (torpor.logged("engine 1 serves again after ", " ms"), answers)
}

#[test]
fn a_killed_engine_loses_nobody() {
    let count = if nightly() { 15_000 } else { 60 };
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("the soft limit rises");
    let dozers = count / 3;
    let config = format!("[sleep]\ndozers_max = {dozers}\n[wake]\nworkers_max = {count}\n");
    let torpor = Torpor::start(&config);
    let takers = Takers::listen(&torpor.dir().join("imap-master"));
    let asleep = |number: usize| match number.is_multiple_of(2) {
        true => Sleeper::behind_tcp(&torpor, number),
        false => Sleeper::new(&torpor, number),
    };
    let mut clients: Vec<Sleeper> = (0..count).map(asleep).collect();
    let first = torpor.engine_pids()[0];
    torpor.signal_pid(&first.to_string(), Signal::SIGSTOP);
    // They talk to an engine that does not hear them any more.
    clients[..10].iter_mut().for_each(Sleeper::say);
    clients[10..20].iter_mut().for_each(Sleeper::ends);
    let (away, answers) = killed(&torpor, first);
    println!("{count} sleepers: serves again after {away} ms, and answers after {answers:?}");
    assert_ne!(torpor.engine_pids()[0], first);
    for client in &mut clients[..10] {
        client.hears();
        client.say();
        client.hears();
        client.ends();
    }
    clients[20..].iter_mut().for_each(Sleeper::ends);
    clients.iter_mut().for_each(Sleeper::is_taken);
    let stats = torpor.json(&["stats"]);
    assert_eq!(stats["counters"]["revived"], count);
    assert_eq!(stats["counters"]["lost"], 0);
    eventually("all are awake", || torpor.json(&["stats"])["counters"]["asleep"] == 0);
    assert_eq!(takers.taken(), count, "each woke once");
}

/// Whom the dead engine has let go counts on, until it hibernates again.
#[test]
fn an_heir_knows_who_is_awake() {
    let torpor = Torpor::start("[wake]\nworkers_max = 2\n");
    let takers = Takers::listen(&torpor.dir().join("imap-master"));
    let mut clients: Vec<Sleeper> = (0..3).map(|number| Sleeper::new(&torpor, number)).collect();
    let counters = || torpor.json(&["stats"])["counters"].take();
    for client in &mut clients[..2] {
        client.ends();
        client.is_taken();
    }
    eventually("two are awake", || counters()["awake"] == 2);
    killed(&torpor, torpor.engine_pids()[0]);
    clients[2].ends();
    eventually("she waits", || counters()["queued_input"] == 1);
    assert_eq!((counters()["awake"].as_u64(), takers.taken()), (Some(2), 2), "{}", torpor.log());
    let _again = torpor.try_hibernate("u0", "s0").expect("taken");
    clients[2].is_taken();
    eventually("two are awake", || counters()["awake"] == 2);
}
