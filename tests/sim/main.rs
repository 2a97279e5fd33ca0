//! The simulator: the real core, driver and conversations over a simulated kernel and world.
//!
//! ```text
//! cargo test --release -p torpor-engine -F planted --test sim, behind it nothing, or:
//! -- seed N [BUG]        one seed with a trace
//! -- seeds FROM COUNT    some other seeds
//! -- planted             only the planted bugs
//! -- nightly SECONDS     seeds until told
//! -- fidelity [N]        only the comparison with the real ring
//! ```
//! Nothing: 50,000 seeds, then the planted bugs.
//! Every seed has a phase of faults and a calm phase; after each tick the checkers look at
//! everything. What failed once becomes a named test of its shortest form.

mod counting;
mod crash;
mod faults;
mod fidelity;
mod handoff;
mod kernel;
mod net;
mod planted;
mod watcher;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use torpor_engine::planted::{Bug, plant};
use torpor_engine::state::{Event, State};

use faults::Fault;
use world::Findings;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let good = match words.first().map(String::as_str) {
        Some("seed") => {
            let bug = words.get(2).and_then(|name| planted::by_name(name));
            plant(bug);
            world::run(number(1).expect("seed N"), true);
            true
        }
        Some("seeds") => sweep(number(1).unwrap_or(1), number(2).unwrap_or(1000), None),
        Some("nightly") => {
            let until = Instant::now() + Duration::from_secs(number(1).unwrap_or(3600));
            let from = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs()) << 20;
            sweep(from, u64::MAX >> 1, Some(until))
        }
        Some("planted") => planted::all() == planted::bugs().len(),
        Some("fidelity") => number(1).map_or_else(fidelity::all, |seed| {
            fidelity::compare(seed);
            true
        }),
        _ => {
            let (faithful, good) = (fidelity::all(), sweep(1, SEEDS, None));
            let found = if good { planted::all() } else { 0 };
            let passed = usize::from(faithful) + usize::from(good) + found;
            let all = 2 + planted::bugs().len();
            conclude(passed, all - passed);
            passed == all
        }
    };
    std::process::exit(i32::from(!good));
}

/// The closing line of cargo's own tests, so that runners count these as well.
fn conclude(passed: usize, failed: usize) {
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured");
}

/// Runs seeds on all cores; prints what fired how often, and fails if something hardly did.
fn sweep(from: u64, count: u64, until: Option<Instant>) -> bool {
    let started = Instant::now();
    let (next, failed) = (AtomicU64::new(from), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Tally::default();
                while !failed.load(Ordering::Relaxed) && until.is_none_or(|at| Instant::now() < at)
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| world::run(seed, false))) {
                        Ok(findings) => own.add(&findings),
                        Err(_) => {
                            failed.store(true, Ordering::Relaxed);
                            println!("seed {seed} FAILED: {COMMAND} -- seed {seed}");
                        }
                    }
                }
                tally.lock().expect("nobody panics with it").merge(&own);
            });
        }
    });
    let tally = tally.into_inner().expect("all threads have ended");
    let secs = started.elapsed().as_secs_f64();
    println!("{} seeds, {} ticks, {} lives in {secs:.1} s", tally.seeds, tally.ticks, tally.lives);
    !failed.into_inner() && (tally.seeds < 10_000 || tally.is_wide())
}

/// In how many seeds something happened.
struct Tally {
    seeds: u64,
    ticks: u64,
    lives: u64,
    struck: [u64; Fault::ALL.len()],
    visits: [[u64; Event::ALL.len()]; State::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        let (struck, visits) = ([0; Fault::ALL.len()], [[0; Event::ALL.len()]; State::ALL.len()]);
        Self { seeds: 0, ticks: 0, lives: 0, struck, visits }
    }
}

impl Tally {
    fn add(&mut self, findings: &Findings) {
        self.seeds += 1;
        self.ticks += u64::from(findings.ticks);
        self.lives += u64::from(findings.lives);
        for (sum, struck) in self.struck.iter_mut().zip(findings.struck) {
            *sum += u64::from(struck > 0);
        }
        for (sums, visits) in self.visits.iter_mut().zip(findings.visits) {
            for (sum, visits) in sums.iter_mut().zip(visits) {
                *sum += u64::from(visits > 0);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.ticks += other.ticks;
        self.lives += other.lives;
        self.struck.iter_mut().zip(other.struck).for_each(|(sum, more)| *sum += more);
        let all = self.visits.iter_mut().flatten().zip(other.visits.into_iter().flatten());
        all.for_each(|(sum, more)| *sum += more);
    }

    /// Prints the table; `false` when a fault or a pair fired in under 0.1 % of seeds.
    fn is_wide(&self) -> bool {
        let mut wide = true;
        let mut line = |name: String, seeds: u64| {
            let rare = seeds * 1000 < self.seeds;
            wide &= !rare;
            let mark = if rare { "  TOO RARE" } else { "" };
            println!(
                "  {name:32} {:6.2} % of seeds{mark}",
                seeds as f64 * 100.0 / self.seeds as f64
            );
        };
        for fault in Fault::ALL {
            line(format!("{fault:?}"), self.struck[fault as usize]);
        }
        for state in State::ALL {
            for event in Event::ALL.into_iter().filter(|event| state.on(*event).is_some()) {
                line(format!("{state:?} {event:?}"), self.visits[state as usize][event as usize]);
            }
        }
        wide
    }
}

const COMMAND: &str = "cargo test --release -p torpor-engine -F planted --test sim";
const SEEDS: u64 = 50_000;
const _: () = assert!(Bug::ALL.len() + Bug::CRASH.len() >= 30);
