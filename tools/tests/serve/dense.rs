//! Dense sleep in an engine that is served by its keeper, and may not load programs itself.

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::parts::{Torpor, eventually};
use crate::sleeper::Sleeper;

/// One of TCP needs no item and stirs without one; one behind a UNIX socket has an item as ever.
#[test]
fn a_plaintext_client_sleeps_without_an_item() {
    let Some(torpor) = dense() else { return };
    let count = |name: &str| count(&torpor, name);
    let mut ann = Sleeper::behind_tcp(&torpor, 1);
    let _bob = torpor.hibernate("bob", "s2");
    eventually("both have sunk", || count("sunk") == 2);
    assert_eq!((count("dense"), count("stirs")), (1, 0));
    ann.ends();
    eventually("she stirs", || count("stirs") == 1);
    eventually("she waits for a worker", || count("queued_input") == 1);
    assert_eq!((count("dense"), count("sunk")), (0, 1));
    assert_eq!((count("dense_lost"), count("dense_found")), (0, 0));
}

/// The programs run on, since an engine has open what keeps them running.
#[test]
fn a_client_without_an_item_stirs_without_a_keeper() {
    let Some(torpor) = dense() else { return };
    let count = |name: &str| count(&torpor, name);
    let mut ann = Sleeper::behind_tcp(&torpor, 1);
    eventually("she has sunk", || count("dense") == 1);
    let mut idle_again = |number: u64| {
        ann.say();
        ann.hears();
        assert_eq!(count("idles_answered"), number);
        eventually("she has sunk again", || count("dense") == 1);
    };
    torpor.signal(Signal::SIGKILL);
    torpor.wait();
    idle_again(1);
    torpor.succeed();
    idle_again(2);
    // Her engine's heir has them from the new keeper.
    let engine = torpor.engine_pids()[0];
    torpor.signal_pid(&engine.to_string(), Signal::SIGKILL);
    eventually("an heir serves", || torpor.engine_pids().iter().any(|pid| *pid != engine));
    idle_again(1);
    assert_eq!(count("dense_found"), 0);
}

/// One that sleeps densely from the first moment, if we may have that.
fn dense() -> Option<Torpor> {
    if !Uid::effective().is_root() {
        println!("NOT TESTED: dense sleep, which needs CAP_BPF and CAP_PERFMON");
        return None;
    }
    Some(Torpor::start("[sleep]\ndense = true\ndoze_secs = 0\n"))
}

fn count(torpor: &Torpor, name: &str) -> u64 {
    torpor.json(&["stats"])["counters"][name].as_u64().expect("a number")
}
