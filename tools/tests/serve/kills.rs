//! The engine is killed again and again under people who read mail: no client is lost, no byte, and
//! nobody is told anything twice.
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
    let own = Own::start(Path::new(env!("CARGO_BIN_EXE_torpor")), READERS, config);
    let own = own.expect("torpor starts");
    let mut readers: Vec<Reader> =
        (1..=READERS).map(|number| Reader::start(&own, number)).collect();
    let ends = AtomicBool::new(false);
    let _shows = End { own: &own, ends: &ends };
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
        let end = End { own: &own, ends: &ends };
        for number in 0..kills {
            // Every other one hits an heir that has just begun.
            let since_ms = if number % 2 == 0 { 2200 } else { number * 7 % 60 };
            eventually("an engine runs", || !own.pids("engine").is_empty());
            thread::sleep(Duration::from_millis(since_ms));
            for pid in own.pids("engine") {
                // It may have been killed as the last one.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        drop(end);
    });
    let log = own.log();
    let died = log.matches("has ended: signal: 9").count();
    println!("{died} engines killed under {READERS} readers, each heard everything once");
    assert!(died as u64 >= kills / 2 && !log.contains("panicked"), "{log}");
    let stats = own.stats().expect("an answer");
    assert_eq!(stats.counters["lost"], 0, "{log}");
}

const READERS: u32 = 24;
