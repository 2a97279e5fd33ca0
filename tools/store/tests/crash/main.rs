//! A process that changes mailboxes is killed at every syscall, or has each of them fail: no
//! message is lost, no UID used twice, nothing promised is broken, and work goes on.
//!
//! `strace` lists the syscalls of one whole run and then kills or fails one of them per run. A
//! sample is tried here; `TORPOR_NIGHTLY=1` tries all.

mod check;
mod example;
mod ground;
mod trace;

use std::time::{Duration, Instant};

use check::Outcome;
use ground::Ground;
use trace::{Fault, Syscall};

#[test]
fn a_kill_at_any_syscall_loses_nothing_and_reuses_no_uid() {
    try_each("SIGKILL", |_| Some(Fault::Kill));
}

#[test]
fn a_full_disk_at_any_syscall_leaves_mailbox_and_index_whole() {
    try_each("ENOSPC", |syscall| syscall.takes_space().then_some(Fault::NoSpace));
}

/// The last write is cut off within a frame, which an error of a whole syscall never does.
#[test]
fn an_index_that_may_not_grow_past_some_byte_stays_whole() {
    let ground = Ground::new();
    let step = if is_nightly() { 1 } else { 37 };
    let (mut tried, mut hit) = (0, 0);
    for limit in (ground.index_bytes()..).step_by(step) {
        let home = ground.copy();
        let said = trace::run_limited(home.path(), limit);
        let outcome = Outcome::of(&said);
        if let Err(broken) = check::verify(home.path(), &outcome) {
            panic!("limit of {limit} bytes: {broken}\n{said}{}", home.keep().display());
        }
        tried += 1;
        if outcome.failures() == 0 {
            break;
        }
        hit += 1;
    }
    println!("limits: {tried} tried, {hit} felt");
    assert!(hit > 10, "the limits hit nothing");
}

#[test]
fn the_script_keeps_all_its_promises_when_nothing_happens() {
    let ground = Ground::new();
    let home = ground.copy();
    let said = trace::run(home.path());
    let outcome = Outcome::of(&said);
    assert!(outcome.is_done() && outcome.failures() == 0, "{said}");
    check::verify(home.path(), &outcome).expect("a good home");
}

/// Runs the script once for each of its syscalls that the fault is for, in homes of their own.
fn try_each(name: &str, fault: impl Fn(&Syscall) -> Option<Fault>) {
    let mut ground = Ground::new();
    ground.grow();
    let syscalls = trace::list(ground.copy().path());
    let faults: Vec<_> = syscalls.iter().filter_map(|one| Some((one, fault(one)?))).collect();
    assert!(faults.len() > 50, "{} syscalls", faults.len());
    let (begin, mut tried, mut hit) = (Instant::now(), 0, 0);
    for at in spread(faults.len()) {
        if !is_nightly() && begin.elapsed() > SAMPLE_TIME {
            break;
        }
        let (syscall, fault) = faults[at];
        let home = ground.copy();
        let said = trace::run_with(home.path(), syscall, fault);
        let outcome = Outcome::of(&said);
        hit += usize::from(!outcome.is_done() || outcome.failures() > 0);
        if let Err(broken) = check::verify(home.path(), &outcome) {
            let kept = home.keep();
            panic!("{name} at {syscall:?}: {broken}\n{said}{}", kept.display());
        }
        tried += 1;
    }
    println!("{name}: {tried} of {} syscalls tried, {hit} felt it", faults.len());
    assert!(hit * 2 > tried, "the faults hit nothing");
}

fn is_nightly() -> bool {
    std::env::var_os("TORPOR_NIGHTLY").is_some()
}

/// All places below `count` in an order whose every beginning is spread over the whole.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let bits = usize::BITS - count.leading_zeros();
    (0..1_usize << bits)
        .map(move |n| n.reverse_bits() >> (usize::BITS - bits))
        .filter(move |&n| n < count)
}

/// Of each test: two of them run beside each other in CI.
const SAMPLE_TIME: Duration = Duration::from_secs(12);
