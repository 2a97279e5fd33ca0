//! Bugs planted on purpose: each must be found within 1,000 seeds, the others off.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};

use torpor_engine::planted::{Bug, plant};

use crate::{counting, world};

/// The bug of this name.
pub fn by_name(name: &str) -> Option<Bug> {
    bugs().into_iter().find(|bug| format!("{bug:?}") == name)
}

/// All that can show in this world.
pub fn bugs() -> Vec<Bug> {
    let all = Bug::ALL.into_iter().chain(Bug::CRASH).chain(Bug::DAMAGE);
    // Mail that is read and not applied is too rare here; `tests/sim_swarm` has it come then.
    all.filter(|bug| *bug != Bug::EventsForgotten).collect()
}

/// Plants one after the other and counts those that are found.
pub fn all() -> usize {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let (bugs, next) = (bugs(), AtomicUsize::new(0));
    let missed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match find(*bug) {
                        Some(seed) => println!("  {:24} found by seed {seed}", format!("{bug:?}")),
                        None => {
                            missed.fetch_add(1, Ordering::Relaxed);
                            println!("  {:24} NOT FOUND in {SEEDS} seeds", format!("{bug:?}"));
                        }
                    }
                }
            });
        }
    });
    set_hook(hook);
    bugs.len() - missed.into_inner()
}

fn find(bug: Bug) -> Option<u64> {
    plant(Some(bug));
    let found = (1..=SEEDS).find(|seed| {
        let run = catch_unwind(AssertUnwindSafe(|| world::run(*seed, false)));
        counting::pause();
        counting::take();
        run.is_err()
    });
    plant(None);
    found
}

const SEEDS: u64 = 1000;
