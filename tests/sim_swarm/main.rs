//! The simulator: the real core, driver and conversations in a world made of chance.
//!
//! ```text
//! cargo test --release -p torpor-engine -F planted --test sim_swarm, behind it nothing, or:
//! -- seed N [--planted BUG]    one seed with its trace
//! -- nightly SECONDS           seeds until told
//! -- planted                   the planted bugs alone
//! -- script FILE               one script with its trace
//! ```
//! Nothing: 50,000 seeds, then the planted bugs.
//! A script is an input of the fuzzer (`tests/fuzz`): its bytes are drawn instead of chance.
//! A seed fails by a panic, of the engine's own asserts or of `checkers.rs`; the run names the
//! first failing seeds and how often each fault and each pair of state and event occurred.
#![cfg_attr(fuzzing, no_main)]

mod alloc;
mod checkers;
mod client;
mod desk;
mod faults;
mod hand;
mod items;
mod keeper;
mod kernel;
mod letter;
mod mailbox;
mod master;
mod past;
mod planted;
mod random;
mod reply;
mod ring;
mod run;
mod seed;
mod session;
mod submit;
mod takers;
mod tasks;
mod worker;
mod world;

use std::any::Any;
use std::process::ExitCode;

use torpor_engine::planted::Bug;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    seed::play(script, false);
});

#[cfg(not(fuzzing))]
fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--nocapture").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["seed", number] => one(number, None),
        ["seed", number, "--planted", name] => one(number, Some(name)),
        ["nightly", secs] => run::nightly(secs.parse().expect("nightly SECONDS")),
        ["planted"] => run::planted(),
        ["script", path] => script(path),
        ["seeds", count] => run::seeds(count.parse().expect("seeds COUNT")),
        _ => run::all(),
    }
}

/// Replays one seed with its trace.
fn one(number: &str, name: Option<&str>) -> ExitCode {
    let number = number.parse().expect("seed N");
    let bug = name.map(|name| {
        let found = planted::bugs().find(|bug| format!("{bug:?}") == name);
        found.unwrap_or_else(|| panic!("no such bug; there are {:?}", Bug::ALL))
    });
    let ran = seed::run(number, bug, true);
    println!("seed {number}: {} ticks, {} lives", ran.ticks, ran.lives);
    ExitCode::SUCCESS
}

/// Replays one script with its trace.
fn script(path: &str) -> ExitCode {
    let script = std::fs::read(path).expect("script FILE");
    let ran = seed::play(&script, true);
    println!("{path}: {} ticks, {} lives", ran.ticks, ran.lives);
    ExitCode::SUCCESS
}

/// What a panic said.
pub fn words(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
    text.unwrap_or_else(|| "a panic without words".to_string())
}
