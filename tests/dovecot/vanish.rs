//! Peers that go without a word: their link is cut, and their slot is freed all the same.

use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use torpor::config::control_path;
use torpor::control::{Console, Request};
use torpor::dovecot::{Client, Dovecot, Endpoint, Options, Version};

use crate::fleet::{Fleet, alone, everybody_answers, nobody_lost, torpor, wait_asleep};

#[test]
fn dovecot23_frees_the_slots_of_vanished_peers() {
    in_own_network(|| vanished(Version::V23));
}

#[test]
fn dovecot24_frees_the_slots_of_vanished_peers() {
    in_own_network(|| vanished(Version::V24));
}

/// Runs a test in a thread with a network of its own; what it starts lives there too.
fn in_own_network(test: fn()) {
    let _alone = alone();
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn vanished(version: Version) {
    ip("link add near type veth peer name far");
    ip("address add 192.0.2.1/24 dev near");
    ip("link set near up");
    // The kernel gives a peer up after three unanswered repetitions, in this namespace only.
    fs::write("/proc/sys/net/ipv4/tcp_retries2", "3").expect("a namespace has its own sysctls");
    let listen = "127.0.0.1, 192.0.2.1".to_owned();
    let options = Options { listen, idle_notify_secs: 2, ..Options::new(version) };
    let dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
    let _torpor = torpor(&dovecot, "");
    let mut near = Fleet { first: 10, ..Fleet::plain(4) }.launch(&dovecot);
    let endpoints = [false, true].map(|tls| {
        let port = dovecot.endpoint(tls).address.port();
        Endpoint { address: ([192, 0, 2, 1], port).into(), tls }
    });
    thread::scope(|scope| {
        let (to_near, from_far) = mpsc::channel();
        let (to_far, from_near) = mpsc::channel();
        scope.spawn(move || far_away(endpoints, &to_near, &from_near));
        let thread_id: i32 = from_far.recv().expect("the far network is there");
        ip(&format!("link set far netns {thread_id}"));
        to_far.send(()).expect("the far thread waits for its link");
        from_far.recv().expect("its clients are logged in");
        wait_asleep(&dovecot);
        assert_eq!(sleepers(&dovecot), 8, "four near, four far");
        to_far.send(()).expect("the far thread waits to vanish");
        let deadline = Instant::now() + Duration::from_secs(30);
        while sleepers(&dovecot) > 4 {
            assert!(Instant::now() < deadline, "{} still hold slots", sleepers(&dovecot));
            thread::sleep(Duration::from_millis(100));
        }
        drop(to_far);
    });
    nobody_lost("those who did not vanish", &everybody_answers(&mut near));
}

/// Four clients in a network of their own, two of them over TLS, whose link is cut.
fn far_away(endpoints: [Endpoint; 2], near: &mpsc::Sender<i32>, word: &mpsc::Receiver<()>) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
    near.send(nix::unistd::gettid().as_raw()).expect("the near thread waits");
    word.recv().expect("the link comes");
    ip("address add 192.0.2.2/24 dev far");
    ip("link set far up");
    let clients = (1..=4).map(|number: u32| {
        let endpoint = endpoints[number as usize % 2];
        Client::asleep(endpoint, &Options::user(number)).expect("a far client logs in")
    });
    let clients: Vec<_> = clients.collect();
    near.send(0).expect("the near thread waits");
    word.recv().expect("the end comes");
    ip("link set far down");
    // The clients stay open, deaf and dumb, until their slots are free.
    assert!(word.recv().is_err(), "nothing more is said");
    drop(clients);
}

/// Sleepers that torpor knows of.
fn sleepers(dovecot: &Dovecot) -> u64 {
    let path = control_path(&dovecot.base_dir());
    let asked =
        Console::connect(&path).and_then(|mut console| console.ask(&Request::Who { user: None }));
    asked.expect("torpor answers").count
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("apt: iproute2");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}
