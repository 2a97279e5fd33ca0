//! `torpor serve --maildir`, from the connection of a mail client to its login.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::parts::{eventually, scrape};
use crate::place::{self, Place};

#[test]
fn a_login_that_takes_too_long_or_too_much_ends() {
    let place = Place::start("auth_timeout_ms = 300\nauth_bytes_max = 512\n");
    let mut slow = place.connect();
    let mut flood = place.connect();
    flood.write_all(&[b'x'; 600]).expect("sent");
    assert!(place::rest(&mut flood).contains("* BYE Too many bytes before login"));
    assert!(place::rest(&mut slow).contains("* BYE Disconnected for inactivity"));
    let mut trickle = place.connect();
    let start = Instant::now();
    // One byte at a time does not buy more time.
    while start.elapsed() < Duration::from_secs(5) && trickle.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "it is closed");
    let front = place.stats();
    assert_eq!((&front["refused_bytes"], &front["refused_time"]), (&1.into(), &2.into()));
    assert_eq!(front["waiting"], 0);
}

#[test]
fn newer_connections_displace_the_oldest() {
    let place = Place::start("conns_max = 2\nconns_per_address_max = 3\n");
    let (mut first, mut second) = (place.connect(), place.connect());
    let mut third = place.connect();
    assert!(place::rest(&mut first).contains("* BYE Too many connections"));
    third.write_all(b"a NOOP\r\n").expect("sent");
    assert_eq!(place::line(&mut third), "a OK NOOP completed");
    second.write_all(b"a NOOP\r\n").expect("sent");
    assert_eq!(place::line(&mut second), "a OK NOOP completed");
    assert_eq!(place.stats()["displaced"], 1);
}

#[test]
fn one_address_has_its_share() {
    let place = Place::start("conns_max = 9\nconns_per_address_max = 2\n");
    let (first, _second) = (place.connect(), place.connect());
    let mut third = place.connect_raw();
    assert_eq!(place::rest(&mut third), "* BYE Too many connections from your address\r\n");
    drop(first);
    eventually("its place is free", || place.stats()["waiting"] == 1);
    place.connect();
}

#[test]
fn wrong_passwords_take_longer_and_longer_and_no_log_has_them() {
    let config = "failure_delay_ms_min = 50\nfailure_delay_ms_max = 100\n\
                  failures_per_address_max = 4\nrefusal_ms = 1000\n";
    let place = Place::start(config);
    let mut stream = place.connect();
    let mut waits = Vec::new();
    for (user, password) in [("ann", "s3cret"), ("nobody", "s3cret"), ("ann\u{1b}", "s3cret")] {
        let start = Instant::now();
        let command = format!("a LOGIN {{{}+}}\r\n{user} {password}\r\n", user.len());
        stream.write_all(command.as_bytes()).expect("sent");
        let answer = place::line(&mut stream);
        assert_eq!(answer, "a NO [AUTHENTICATIONFAILED] Authentication failed");
        waits.push(start.elapsed());
    }
    assert!(waits[0] >= Duration::from_millis(50) && waits[1] >= Duration::from_millis(100));
    // `\0bob\0s3cret`
    stream.write_all(b"b AUTHENTICATE PLAIN AGJvYgBzM2NyZXQ=\r\n").expect("sent");
    let rest = place::rest(&mut stream);
    assert!(rest.starts_with("b NO ") && rest.contains("* BYE Too many failed logins"), "{rest}");
    assert_eq!(
        place::rest(&mut place.connect_raw()),
        "* BYE Too many failed logins from your address\r\n"
    );
    let front = place.stats();
    assert_eq!((&front["failures"], &front["banned"]), (&4.into(), &1.into()));
    eventually("it is forgiven", || place.stats()["banned"] == 0);
    place.connect();
    place
        .torpor
        .logged("imap-login: Info: Disconnected: Too many failed logins (auth failed, 4", "");
    let log = place.torpor.log();
    assert!(log.contains("user=<bob>, rip=127.0.0.1"), "{log}");
    assert!(!log.contains("s3cret") && !log.contains("AGJv"), "{log}");
}

#[test]
fn scrapers_get_the_fronts_counts_too() {
    let place =
        Place::start_with("failure_delay_ms_min = 0\n", "[metrics]\nlisten = \"127.0.0.1:0\"");
    let address = place.torpor.logged("metrics at http://", "/metrics");
    let mut stream = place.connect();
    stream.write_all(b"a LOGIN ann wrong\r\n").expect("sent");
    assert!(place::line(&mut stream).starts_with("a NO "));
    // A front that takes more than two seconds is left out.
    for line in ["torpor_logins_total{result=\"failed\"} 1", "torpor_unauthenticated 1"] {
        eventually(line, || scrape(&address).contains(&format!("\n{line}\n")));
    }
    // Without a front the engine's half is served, and soon.
    place.torpor.signal_pid(&place.front_pid(), Signal::SIGSTOP);
    let start = Instant::now();
    let text = scrape(&address);
    place.torpor.signal_pid(&place.front_pid(), Signal::SIGCONT);
    assert!(text.contains("\ntorpor_asleep 0\n") && !text.contains("torpor_logins"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn users_come_and_go_without_a_restart() {
    let place = Place::start("failure_delay_ms_min = 0\n");
    let mut stream = place.connect();
    let mut login = |text: &str| {
        stream.write_all(format!("{text}\r\n").as_bytes()).expect("sent");
        place::line(&mut stream)
    };
    assert!(login("a LOGIN eve pw").starts_with("a NO "));
    place.add_user("eve");
    eventually("the file is read", || place.stats()["users"] == 2);
    place.write_users("ann:{PLAIN}s3cret\n");
    place.torpor.logged("users:1: not an argon2 hash", "stay");
    place.torpor.signal(Signal::SIGHUP);
    place.torpor.logged("configuration", "reloaded");
    assert_eq!(place.stats()["users"], 2, "a slip of an editor locks nobody out");
    assert!(!place.torpor.log().contains("s3cret"));
    assert!(!login("b LOGIN eve pw").starts_with("b NO "));
}

#[test]
fn a_killed_front_comes_back_and_turns_nobody_away() {
    let place = Place::start("");
    let mut sleeper = place.torpor.hibernate("ann", "s1");
    let before = place.connect();
    place.torpor.signal_pid(&place.front_pid(), Signal::SIGKILL);
    // While nobody is there to greet, the listen queue keeps it.
    let mut after = place.connect();
    after.write_all(b"a NOOP\r\n").expect("sent");
    assert_eq!(place::line(&mut after), "a OK NOOP completed");
    drop(before);
    sleeper.set_nonblocking(true).expect("a socket");
    assert_eq!(sleeper.read(&mut [0]).expect_err("asleep").kind(), ErrorKind::WouldBlock);
    assert_eq!(place.torpor.json(&["who"])["count"], 1);
    place.torpor.logged("the front has ended: signal: 9", "stay");

    place.torpor.signal(Signal::SIGTERM);
    assert!(place.torpor.wait().success());
    assert!(place::rest(&mut after).is_empty(), "it ends");
    let left = std::fs::read_dir(place.torpor.dir()).expect("base_dir").count();
    assert_eq!(left, 0, "all sockets are gone");
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let text = Place::refused("", &["--listen", "0.0.0.0:0"]);
    assert!(text.contains("--insecure-plaintext"), "{text}");
    let text = Place::refused("", &["--listen", "192.0.2.1:143", "--insecure-plaintext"]);
    assert!(text.contains("listen = 192.0.2.1:143: "), "{text}");
    let text = Place::refused("user = \"no-such-user\"\n", &[]);
    assert!(text.contains("there is no user no-such-user"), "{text}");
    let text = Place::refused("", &["--users", "/nonexistent/users"]);
    assert!(text.contains("/nonexistent/users: "), "{text}");
    let text = Place::refused("", &["--maildir", "/nonexistent/mail"]);
    assert!(text.contains("/nonexistent/mail: there is no such folder"), "{text}");
    let text = Place::refused("auth_bytes_max = 3\n", &[]);
    assert!(text.contains("auth_bytes_max: 3 is out of range"), "{text}");
}
