//! The ground that the Dovecot tests stand on: a private Dovecot of each version, over plain TCP
//! and TLS, that never hibernates.

use std::time::{Duration, Instant};

use torpor::dovecot::{Client, Dovecot, Mailbox, Options, Version};

#[test]
fn dovecot23_serves_reloads_stops_and_starts() {
    a_private_dovecot(Version::V23);
}

#[test]
fn dovecot24_serves_reloads_stops_and_starts() {
    a_private_dovecot(Version::V24);
}

fn a_private_dovecot(version: Version) {
    let options = Options { hibernate_timeout_secs: 0, ..Options::new(version) };
    let mut dovecot = Dovecot::start(&options).expect("a private Dovecot starts");
    for (number, tls) in [(1, false), (2, true)] {
        let user = Options::user(number);
        let (mut client, tag) = Client::asleep(dovecot.endpoint(tls), &user).expect("IDLE");
        dovecot.mailbox(&user).deliver(&Mailbox::message("one")).expect("a delivery");
        client.expect("* 1 EXISTS", Duration::from_secs(5)).expect("the mail is announced");
        let who = dovecot.doveadm(&["who"]).expect("doveadm runs");
        assert!(who.contains(&user), "{who}");
        client.done(&tag).expect("DONE is answered");
        assert!(client.transcript().to_string().contains("EXISTS"));
    }
    dovecot.reload().expect("it reloads");
    let master = dovecot.pid().expect("it runs");
    dovecot.stop();
    assert!(Client::connect(dovecot.endpoint(false)).is_err(), "nobody listens any more");
    dovecot.start_again().expect("it starts again");
    assert_ne!(dovecot.pid(), Some(master));
    let (client, _) = Client::asleep(dovecot.endpoint(false), "u00001").expect("IDLE");
    assert_eq!(dovecot.imap_pids().len(), 1, "one worker for one client");
    client.reset().expect("a reset");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !dovecot.imap_pids().is_empty() {
        assert!(Instant::now() < deadline, "the worker goes with its client");
        std::thread::sleep(Duration::from_millis(10));
    }
    let dir = dovecot.dir().to_path_buf();
    drop(dovecot);
    assert!(!dir.exists(), "its folder goes with it");
}
