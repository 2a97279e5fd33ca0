//! Dense sleep in an engine that is served by its keeper, and may not load programs itself.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::parts::{Torpor, eventually};

/// One of TCP needs no item and stirs without one; one behind a UNIX socket has an item as ever.
#[test]
fn a_plaintext_client_sleeps_without_an_item() {
    if !Uid::effective().is_root() {
        println!("NOT TESTED: dense sleep, which needs CAP_BPF and CAP_PERFMON");
        return;
    }
    let torpor = Torpor::start("[sleep]\ndense = true\ndoze_secs = 0\n");
    let count = |name: &str| torpor.json(&["stats"])["counters"][name].as_u64().expect("a number");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mut ann = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (near, _) = listener.accept().expect("accepted");
    torpor.offer("ann", "s1", near.into()).expect("taken");
    let _bob = torpor.hibernate("bob", "s2");
    eventually("both have sunk", || count("sunk") == 2);
    assert_eq!((count("dense"), count("stirs")), (1, 0));
    ann.write_all(b"DONE\r\n").expect("the engine holds the other end");
    eventually("she stirs", || count("stirs") == 1);
    eventually("she waits for a worker", || count("queued_input") == 1);
    assert_eq!((count("dense"), count("sunk")), (0, 1));
    assert_eq!((count("dense_lost"), count("dense_found")), (0, 0));
}

/// The programs run on, since an engine has open what keeps them running.
#[test]
fn a_client_without_an_item_stirs_without_a_keeper() {
    if !Uid::effective().is_root() {
        println!("NOT TESTED: dense sleep, which needs CAP_BPF and CAP_PERFMON");
        return;
    }
    let torpor = Torpor::start("[sleep]\ndense = true\ndoze_secs = 0\n");
    let count = |name: &str| torpor.json(&["stats"])["counters"][name].as_u64().expect("a number");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mut ann = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (near, _) = listener.accept().expect("accepted");
    torpor.offer("ann", "s1", near.into()).expect("taken");
    eventually("she has sunk", || count("dense") == 1);
    let mut idle_again = |number: u64| {
        ann.write_all(b"DONE\r\nb IDLE\r\n").expect("the engine holds the other end");
        eventually("she is answered", || count("idles_answered") == number);
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
