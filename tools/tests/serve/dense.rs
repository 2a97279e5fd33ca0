//! Dense sleep in an engine that is served by its keeper, and may not load programs itself.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

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
