//! Engine, watcher or keeper is killed again and again under people who read mail: no client is
//! lost, no byte, and nobody is told anything twice.
//!
//! Workers and clients are real (`torpor serve --maildir`), so every kill falls into hibernations,
//! answers given asleep, deliveries and handoffs.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor::own::Own;

use crate::parts::{PATIENCE, comes_true, eventually, nightly};
use crate::readers::{READERS, read_under};

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

#[test]
fn kills_of_keeper_and_engine_in_turns_lose_nobody_and_nothing() {
    let rounds = if nightly() { 50 } else { 4 };
    let own = own("hibernate_after_ms = 50\nworkers_max = 100\n[sleep]\ndozers_max = 10\n");
    let mut keeper = None;
    read_under(&own, || {
        for round in 0..rounds {
            thread::sleep(Duration::from_millis(700));
            match keeper.take() {
                Some(keeper) => Next::kill(keeper),
                None => {
                    kill(Pid::from_raw(own.pid()), Signal::SIGKILL).expect("it lives");
                    // Until then it holds its lock, and the next one is right to say that it lives.
                    eventually("it has ended", || has_ended(own.pid()));
                }
            }
            thread::sleep(Duration::from_millis(round * 137 % 400));
            keeper = Some(Next::start(&own));
            thread::sleep(Duration::from_millis(round * 77 % 300));
            let engine = || own.stats().ok().map(|stats| stats.engines[0].pid);
            let victim = engine().expect("an answer");
            kill(Pid::from_raw(victim as i32), Signal::SIGKILL).expect("it lives");
            eventually("an heir serves", || engine().is_some_and(|pid| pid != victim));
        }
    });
    let (log, stats) = (own.log(), own.stats().expect("an answer"));
    assert_eq!(stats.counters["lost"], 0, "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(log.matches("has lost its keeper and was taken over").count() as u64, 2 * rounds);
}

/// A keeper that follows the one of a torpor. Dropping it stops all of it.
struct Next<'a> {
    own: &'a Own,
    child: Child,
}

impl<'a> Next<'a> {
    fn start(own: &'a Own) -> Self {
        let dir = own.maildir().with_file_name("");
        let log = OpenOptions::new().append(true).open(dir.join("log")).expect("its log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
        command.arg("serve").arg("--config").arg(dir.join("torpor.toml"));
        command.arg("--maildir").arg(own.maildir()).arg("--users").arg(dir.join("users"));
        let child = command.stdin(Stdio::null()).stderr(log).spawn().expect("torpor starts");
        let next = Self { own, child };
        let is_known = || own.stats().is_ok_and(|stats| stats.pid == next.child.id());
        assert!(comes_true(PATIENCE, is_known), "{:?}: {}", own.stats(), own.log());
        next
    }

    fn signal(&mut self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Kills it, and says that there is none.
    fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("our child");
        std::mem::forget(self);
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().expect("our child");
        assert!(thread::panicking() || status.success(), "{status}: {}", self.own.log());
    }
}

/// Gone, or its files are closed and nobody has asked for its status yet.
fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with('Z'))
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
