//! Planted bugs: each must be found within 1,000 seeds while the others are off.

use std::panic::catch_unwind;

use torpor_engine::planted::Bug;

use crate::seed;

/// Seeds that a planted bug may survive.
pub const SEEDS_MAX: u64 = 1000;

/// All of them, and those that only show to who looks at the order of wakes, counts workers, and
/// has a keeper.
pub fn bugs() -> impl Iterator<Item = Bug> {
    let own = [
        Bug::QueueInverted,
        Bug::ExitForgotten,
        Bug::AwakeForgotten,
        Bug::AcceptTrusted,
        Bug::EstateForgotten,
    ];
    Bug::ALL.into_iter().chain(Bug::CRASH).chain(own)
}

/// The first seed that finds the bug, and what it says.
pub fn hunt(bug: Bug) -> Option<(u64, String)> {
    (0..SEEDS_MAX).find_map(|number| {
        let found = catch_unwind(|| seed::run(number, Some(bug), false)).err()?;
        Some((number, crate::words(&found)))
    })
}
