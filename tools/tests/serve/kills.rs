//! The engine, or its watcher, is killed again and again under people who read mail: no client is
//! lost, no byte, and nobody is told anything twice.
//!
//! Workers and clients are real (`torpor serve --maildir`), so every kill falls into hibernations,
//! answers given asleep, deliveries and handoffs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor::own::Own;

use crate::parts::{eventually, nightly};
use crate::readers::{End, Reader};

#[test]
fn kills_in_a_row_lose_nobody_and_nothing() {
    let kills = if nightly() { 100 } else { 10 };
    let config = "hibernate_after_ms = 50\nworkers_max = 100\n[sleep]\ndozers_max = 10\n";
    let own = own(config);
    read_under(&own, || {
        for number in 0..kills {
            // Every other one hits an heir that has just begun.
            let since_ms = if number % 2 == 0 { 2200 } else { number * 7 % 60 };
            kill_after(&own, "engine", Duration::from_millis(since_ms));
        }
    });
    let log = own.log();
    let died = log.matches("engine 1 has ended: signal: 9").count();
    println!("{died} engines killed under {READERS} readers, each heard everything once");
    assert!(died as u64 >= kills / 2 && !log.contains("panicked"), "{log}");
    let stats = own.stats().expect("an answer");
    assert_eq!(stats.counters["lost"], 0, "{log}");
}

/// Whatever it was doing: no engine ends by it, no worker is refused.
#[test]
fn a_killed_watcher_is_not_noticed() {
    let kills = if nightly() { 100 } else { 10 };
    let own = own("hibernate_after_ms = 50\nworkers_max = 100\n");
    let engine = own.pids("engine");
    read_under(&own, || {
        for number in 0..kills {
            // Every other one hits one that has just begun, or nobody.
            let since_ms = if number % 2 == 0 { 1100 } else { number * 7 % 60 };
            kill_after(&own, "watcher", Duration::from_millis(since_ms));
        }
    });
    let (log, stats) = (own.log(), own.stats().expect("an answer"));
    let died = log.matches("the watcher of engine 1 has ended: signal: 9").count();
    let counters = &stats.counters;
    println!("{died} watchers killed under {READERS} readers, each heard everything once");
    assert!(died as u64 >= kills / 2 && !log.contains("panicked"), "{log}");
    assert_eq!(own.pids("engine"), engine, "{log}");
    for name in ["lost", "refused", "refused_full", "revived"] {
        assert_eq!(counters[name], 0, "{name}: {log}");
    }
}

fn own(config: &str) -> Own {
    let own = Own::start(Path::new(env!("CARGO_BIN_EXE_torpor")), READERS, config);
    own.expect("torpor starts")
}

/// Kills those that run of these processes.
fn kill_after(own: &Own, subcommand: &str, time: Duration) {
    eventually("one runs", || !own.pids(subcommand).is_empty());
    thread::sleep(time);
    for pid in own.pids(subcommand) {
        // It may have been killed as the last one.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// People read until `work` is done, and everybody has heard of everything.
fn read_under(own: &Own, work: impl FnOnce()) {
    let mut readers: Vec<Reader> = (1..=READERS).map(|number| Reader::start(own, number)).collect();
    let ends = AtomicBool::new(false);
    let _shows = End { own, ends: &ends };
    thread::scope(|scope| {
        for reader in &mut readers {
            let ends = &ends;
            scope.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    reader.act();
                }
                reader.end();
            });
        }
        let end = End { own, ends: &ends };
        work();
        drop(end);
    });
}

const READERS: u32 = 24;
