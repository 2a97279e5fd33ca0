//! Many seeds on all cores, and what they came to.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use torpor_engine::planted::Bug;
use torpor_engine::state::{Event, State};

use crate::faults::{self, Fault};
use crate::planted;
use crate::seed::{self, Ran};

/// In how many seeds each thing happened.
#[derive(Default)]
struct Tally {
    seeds: u64,
    ticks: u64,
    lives: u64,
    faults: Vec<u64>,
    pairs: [[u64; Event::ALL.len()]; State::ALL.len()],
    failures: Vec<(u64, String)>,
}

/// The whole test.
pub fn all() -> ExitCode {
    quiet();
    let count = if cfg!(debug_assertions) { 300 } else { SEEDS };
    let tally = tally(count, None);
    let (passed, mut failed) = tally.print(!cfg!(debug_assertions));
    let (found, missed) = hunt_all();
    let (played, broken) = scripts();
    failed += missed + broken;
    verdict(passed + found + played, failed)
}

/// The scripts that the fuzzer has found worth keeping.
fn scripts() -> (u64, u64) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/script");
    let (mut played, mut broken) = (0, 0);
    for entry in std::fs::read_dir(folder).expect("the corpus of scripts") {
        let path = entry.expect("a folder can be read").path();
        let script = std::fs::read(&path).expect("a script");
        match catch_unwind(|| seed::play(&script, false)) {
            Ok(_) => played += 1,
            Err(panic) => {
                broken += 1;
                println!("FAILED {}: {}", path.display(), cut(&crate::words(&panic)));
            }
        }
    }
    println!("{played} scripts of the fuzzer");
    (played, broken)
}

/// So many seeds and nothing else.
pub fn seeds(count: u64) -> ExitCode {
    quiet();
    let (passed, failed) = tally(count, None).print(false);
    verdict(passed, failed)
}

/// Seeds until the time is over, from a place that nobody has been to.
pub fn nightly(secs: u64) -> ExitCode {
    quiet();
    let tally = tally(u64::MAX, Some(Duration::from_secs(secs)));
    let (passed, failed) = tally.print(false);
    verdict(passed, failed)
}

/// The planted bugs alone.
pub fn planted() -> ExitCode {
    quiet();
    let (found, missed) = hunt_all();
    verdict(found, missed)
}

fn hunt_all() -> (u64, u64) {
    let bugs: Vec<Bug> = planted::bugs().collect();
    let next = AtomicU64::new(0);
    let missed = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    match planted::hunt(*bug) {
                        Some((seed, words)) => {
                            println!("planted {bug:?}: seed {seed}: {}", cut(&words));
                        }
                        None => {
                            missed.fetch_add(1, Ordering::Relaxed);
                            println!("planted {bug:?}: not found in {} seeds", planted::SEEDS_MAX);
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner();
    (bugs.len() as u64 - missed, missed)
}

fn tally(count: u64, time: Option<Duration>) -> Tally {
    let begin = Instant::now();
    let first = match time {
        None => 0,
        Some(_) => (u64::from(std::process::id()) << 32) ^ unix_secs() << 20,
    };
    let next = AtomicU64::new(0);
    let whole = Mutex::new(Tally { faults: vec![0; Fault::COUNT], ..Tally::default() });
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                let mut own = Tally { faults: vec![0; Fault::COUNT], ..Tally::default() };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = time.is_some_and(|time| begin.elapsed() > time);
                    if number >= count || late || own.failures.len() >= FAILURES_MAX {
                        break;
                    }
                    own.add(first.wrapping_add(number));
                }
                whole.lock().expect("nobody panics here").merge(&own);
            });
        }
    });
    let tally = whole.into_inner().expect("nobody panics here");
    println!(
        "{} seeds, {} ticks, {} lives in {:.1} s",
        tally.seeds,
        tally.ticks,
        tally.lives,
        begin.elapsed().as_secs_f64()
    );
    tally
}

impl Tally {
    fn add(&mut self, number: u64) {
        self.seeds += 1;
        match catch_unwind(|| seed::run(number, None, false)) {
            Ok(ran) => self.count(&ran),
            Err(panic) => self.failures.push((number, crate::words(&panic))),
        }
    }

    fn count(&mut self, ran: &Ran) {
        self.ticks += u64::from(ran.ticks);
        self.lives += u64::from(ran.lives);
        for (index, count) in self.faults.iter_mut().enumerate() {
            *count += u64::from(ran.fired >> index & 1 == 1);
        }
        for (counts, visits) in self.pairs.iter_mut().zip(&ran.visits) {
            for (count, visits) in counts.iter_mut().zip(visits) {
                *count += u64::from(*visits > 0);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.ticks += other.ticks;
        self.lives += other.lives;
        for (count, more) in self.faults.iter_mut().zip(&other.faults) {
            *count += more;
        }
        for (counts, more) in self.pairs.iter_mut().flatten().zip(other.pairs.iter().flatten()) {
            *counts += more;
        }
        self.failures.extend_from_slice(&other.failures);
        self.failures.sort();
    }

    /// Prints everything; seeds that passed and things that failed. `strict`: what is too rare
    /// fails as well.
    fn print(&self, strict: bool) -> (u64, u64) {
        let mut rare = 0;
        let mut show = |name: &str, count: u64| {
            let share = count as f64 * 100.0 / self.seeds.max(1) as f64;
            let is_rare = count * 1000 < self.seeds;
            rare += u64::from(is_rare);
            println!("{share:6.2} % {name}{}", if is_rare { "  RARE" } else { "" });
        };
        println!("seeds in which a fault happened:");
        for (name, count) in faults::names().iter().zip(&self.faults) {
            show(name, *count);
        }
        println!("seeds in which an event met a state:");
        for (state, counts) in State::ALL.into_iter().zip(&self.pairs) {
            for (event, count) in Event::ALL.into_iter().zip(counts) {
                if state.on(event).is_some() {
                    show(&format!("{state:?} {event:?}"), *count);
                }
            }
        }
        for (seed, words) in self.failures.iter().take(FAILURES_MAX) {
            println!("FAILED seed {seed}: {}", cut(words));
            println!("    replay: {COMMAND} -- seed {seed}");
        }
        let failed = self.failures.len() as u64;
        let too_rare = if strict { rare } else { 0 };
        (self.seeds - failed, failed + too_rare)
    }
}

/// In libtest's words, which `tests/run` counts.
fn verdict(passed: u64, failed: u64) -> ExitCode {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Panics are counted, not shown: a replay shows them.
fn quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn cut(words: &str) -> String {
    words.lines().take(4).collect::<Vec<_>>().join(" | ")
}

fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

fn unix_secs() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

/// Seeds of one run of the test.
const COMMAND: &str = "cargo test --release -p torpor-engine -F planted --test sim_swarm";
const SEEDS: u64 = 50_000;
/// A thread that has seen so many failures stops.
const FAILURES_MAX: usize = 20;
