//! The engine on the real kernel: core, driver, ring and watcher together. One test at a time,
//! because they count the descriptors of their process.

mod ground;
mod watches;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use torpor_engine::command::Command;
use torpor_engine::drive::Driver;
use torpor_engine::limits::{Knobs, Limits};
use torpor_engine::sys::dense::Dense;
use torpor_handoff::message::Outcome;

use ground::{Engine, descriptors, line};

#[test]
fn clients_sleep_and_wake_in_the_vault() {
    alone(|home| life(home, Engine::new(16, true)));
}

/// Through the epoll set, and without so much as an item where root may load programs.
#[test]
fn clients_sleep_and_wake_sunk_and_dense() {
    let knobs = || Knobs { doze_ms: 0, ..Knobs::default() };
    alone(|home| life(home, Engine::with(16, true, knobs())));
    alone(|home| {
        let dense = Dense::create(16);
        assert!(dense.is_ok() || !geteuid().is_root(), "root may load programs");
        let Ok(dense) = dense else { return };
        let engine = Engine::over(16, true, knobs(), |lasting| {
            lasting.items.use_dense(dense).unwrap();
        });
        life(home, engine);
    });
}

/// As on kernels that cannot have a vault.
#[test]
fn clients_sleep_and_wake_behind_their_numbers() {
    alone(|home| life(home, Engine::new(16, false)));
}

/// Five thousand sleepers: neither asleep nor after an answer or a wake do they have numbers.
#[test]
fn a_sleeper_in_the_vault_has_no_number() {
    without_numbers(Knobs::default());
}

/// The same through the epoll set alone.
#[test]
fn a_sleeper_in_the_epoll_set_has_no_number() {
    without_numbers(Knobs { doze_ms: 0, ..Knobs::default() });
}

fn without_numbers(knobs: Knobs) {
    alone(|_| {
        let sinks = knobs.doze_ms == 0;
        let mut engine = Engine::with(SLEEPERS, true, knobs.clone());
        let before = descriptors();
        let mut clients = engine.hibernate_many(SLEEPERS);
        let theirs = clients.len();
        assert_eq!(engine.counters().asleep, SLEEPERS.into());
        let dozing = if sinks { 0 } else { SLEEPERS.min(Limits::default().dozers_max) };
        assert_eq!(engine.counters().dozing, dozing.into());
        assert_eq!(engine.counters().sunk, (SLEEPERS - dozing).into());
        assert_eq!(descriptors() - theirs, before, "asleep");
        for client in &mut clients {
            client.write_all(b"DONE\r\nb2 IDLE\r\n").unwrap();
        }
        engine.turn_until(|engine| engine.counters().idles_answered == SLEEPERS.into());
        assert_eq!(descriptors() - theirs, before, "answered and armed again");
        for client in &mut clients[..100] {
            client.write_all(b"b3 NOOP\r\n").unwrap();
        }
        for _ in 0..100 {
            let wake = engine.wake();
            engine.end(wake, Outcome::Taken);
        }
        assert_eq!(engine.counters().asleep, u64::from(SLEEPERS) - 100);
        assert_eq!(descriptors() - theirs, before, "a hundred are gone");
        for client in &mut clients[..100] {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"a1 OK Idle completed.\r\n+ idling\r\n");
        }
        let Driver { watcher, ring, .. } = engine.driver;
        drop(ring);
        watcher.join();
    });
}

const SLEEPERS: u32 = 5000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone(act: impl Fn(&Path)) {
    let _guard = ONE_AT_A_TIME.lock();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let home = std::env::temp_dir().join(format!("torpor-real-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    // The folder is made well before anybody sleeps on it.
    thread::sleep(Duration::from_millis(50));
    let before = descriptors();
    act(&home);
    // The kernel ends the ring, and with it what is in flight, a little later.
    let patience = Instant::now() + Duration::from_secs(5);
    while descriptors() != before && Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(descriptors(), before, "every descriptor was closed");
    std::fs::remove_dir_all(&home).unwrap();
}

fn life(home: &Path, mut engine: Engine) {
    let mut done = engine.hibernate(home, true);
    let mut mail = engine.hibernate(home, true);
    let mut bare = engine.hibernate(home, false);
    assert_eq!(engine.counters().asleep, 3);

    // Answered asleep, then woken with exactly the bytes that came.
    done.write_all(b"DONE\r\nb2 IDLE\r\n").unwrap();
    engine.turn_until(|engine| engine.counters().idles_answered == 1);
    assert_eq!(line(&mut done), "a1 OK Idle completed.\r\n");
    assert_eq!(line(&mut done), "+ idling\r\n");
    done.write_all(b"DO").unwrap();
    engine.turn_for(Duration::from_millis(20));
    done.write_all(b"NE\r\n").unwrap();
    let wake = engine.wake();
    let parcel = String::from_utf8(wake.parcel.clone()).unwrap();
    assert!(
        parcel.contains("\ttag=b2\t") && parcel.contains("\tclient_input=RE9ORQ0K"),
        "{parcel}"
    );

    // A refusal gives it back; what it says meanwhile is not lost.
    done.write_all(b"b3 NOOP\r\n").unwrap();
    engine.end(wake, Outcome::Refused);
    let wake = engine.wake();
    let parcel = String::from_utf8(wake.parcel.clone()).unwrap();
    let mut left = String::new();
    let socket = TcpStream::from(wake.client.try_clone().unwrap());
    socket.set_nonblocking(true).unwrap();
    let _ = (&socket).read_to_string(&mut left);
    let both = parcel.contains("\tclient_input=RE9ORQ0KYjMgTk9PUA0K") && left.is_empty();
    let one = parcel.contains("\tclient_input=RE9ORQ0K") && left == "b3 NOOP\r\n";
    assert!(both || one, "{parcel} and {left:?}");
    drop(socket);
    engine.end(wake, Outcome::Taken);

    // A hang-up.
    let other = engine.hibernate(home, true);
    drop(other);
    engine.turn_until(|engine| engine.counters().disconnected == 1);

    // Mail for the second, nothing for the third.
    std::fs::write(home.join("1.mail"), b"x").unwrap();
    let wake = engine.wake();
    assert!(wake.parcel.ends_with(b"\tidle-continue\n"), "{:?}", wake.parcel);
    engine.end(wake, Outcome::Taken);
    engine.turn_until(|engine| engine.counters().asleep == 1);
    assert_eq!(mail.write(b"x").unwrap(), 1, "its connection is the worker's now");

    engine.driver.desk.orders.push_back(Command::Stop { ticket: 1 });
    engine.turn_until(|engine| engine.stopped);
    assert_eq!(line(&mut bare), "* BYE Server shutting down.\r\n");
    assert_eq!(bare.read(&mut [0; 1]).unwrap(), 0);
    engine.close();
}
