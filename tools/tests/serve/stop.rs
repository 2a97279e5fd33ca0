//! `torpor stop`: everybody is told BYE, and the command returns when it is over.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::parts::{Torpor, eventually};
use crate::place::{self, Place};
use crate::sleeper::Sleeper;
use crate::upgrade::programs::{TORPOR, refuses};

fn stop(dir: &Path) -> Output {
    let mut command = Command::new(TORPOR);
    command.args(["stop".as_ref(), "--base-dir".as_ref(), dir]).output().expect("torpor starts")
}

/// What it says and where, and whether that is good.
fn told(output: Output) -> (bool, String) {
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    let at = usize::from(!output.status.success());
    assert!(texts[1 - at].is_empty(), "{texts:?}");
    (at == 0, texts[at].clone())
}

fn sleepers(torpor: &Torpor, count: usize) -> Vec<Sleeper> {
    let all: Vec<Sleeper> = (0..count).map(|number| Sleeper::new(torpor, number)).collect();
    eventually("they sleep", || torpor.json(&["stats"])["counters"]["asleep"] == count);
    all
}

const BYE: &str = "* BYE Server shutting down.\r\n";

#[test]
fn a_stop_returns_when_all_have_heard_and_nobody_is_left() {
    let torpor = Torpor::start("engines = 2\n");
    let mut all = sleepers(&torpor, 5);
    let expected = "stopped: BYE to 5 sleepers\n".to_owned();
    assert_eq!(told(stop(&torpor.dir())), (true, expected));
    assert!(torpor.pids("serve").is_empty(), "the keeper has ended");
    eventually("so have all others", || torpor.processes() == 0);
    all.iter_mut().for_each(|sleeper| sleeper.reads(BYE));
    assert!(torpor.wait().success(), "{}", torpor.log());
    let left = std::fs::read_dir(torpor.dir()).expect("base_dir").count();
    assert_eq!(left, 0, "all sockets are gone");
    let (is_good, text) = told(stop(&torpor.dir()));
    assert!(!is_good && text.contains("(is torpor serve running?)"), "{text}");
}

/// A worker holds one up; whoever asks meanwhile is heard.
#[test]
fn whoever_asks_while_it_ends_is_told_so() {
    let torpor = Torpor::start("[wake]\nack_timeout_ms = 2000\n");
    let mut all = sleepers(&torpor, 2);
    let master = UnixListener::bind(torpor.dir().join("imap-master")).expect("a worker's socket");
    all[0].ends();
    let (mut worker, _) = master.accept().expect("a wake");
    worker.write_all(b"VERSION\timap-master\t1\t0\n").expect("greeted");
    eventually("one is with it", || torpor.json(&["stats"])["counters"]["asleep"] == 1);
    let dir = torpor.dir();
    thread::scope(|scope| {
        let asked = [(); 2].map(|()| scope.spawn(|| told(stop(&dir))));
        torpor.logged("stopping: BYE to every", "sleeper");
        let text = refuses(&torpor, "/bin/true".as_ref());
        assert_eq!(text, "torpor: torpor was told to stop\n");
        for asked in asked {
            let expected = "stopped: BYE to 1 sleeper\n".to_owned();
            assert_eq!(asked.join().expect("no panic"), (true, expected), "{}", torpor.log());
        }
    });
    all[1].reads(BYE);
}

#[test]
fn an_end_that_is_not_in_order_is_no_success() {
    let hangs = || {
        let torpor = Torpor::start("");
        let sleepers = sleepers(&torpor, 1);
        let engine = torpor.engine_pids()[0].to_string();
        torpor.signal_pid(&engine, Signal::SIGSTOP);
        (torpor, sleepers, engine)
    };
    let asked = |torpor: &Torpor, then: &dyn Fn()| {
        let dir = torpor.dir();
        thread::scope(|scope| {
            let asked = scope.spawn(|| told(stop(&dir)));
            torpor.logged("stopping: BYE to every", "sleeper");
            then();
            let (is_good, text) = asked.join().expect("no panic");
            assert!(!is_good, "{text}");
            text
        })
    };
    let (torpor, _sleepers, engine) = hangs();
    let text = asked(&torpor, &|| torpor.signal_pid(&engine, Signal::SIGKILL));
    assert!(text.contains("but an engine has ended: signal: 9 (SIGKILL)"), "{text}");
    let (torpor, _sleepers, _) = hangs();
    let text = asked(&torpor, &|| torpor.signal(Signal::SIGTERM));
    assert!(text.contains("ended at once, sleepers were closed without BYE"), "{text}");
}

/// Nobody listens where operators ask.
#[test]
fn engines_without_a_keeper_are_stopped_too() {
    let torpor = Torpor::start("engines = 2\n");
    let mut all = sleepers(&torpor, 5);
    torpor.signal(Signal::SIGKILL);
    torpor.wait();
    let expected = "stopped: BYE to 5 sleepers\n".to_owned();
    assert_eq!(told(stop(&torpor.dir())), (true, expected), "{}", torpor.log());
    assert!(torpor.pids("engine").is_empty(), "{}", torpor.log());
    all.iter_mut().for_each(|sleeper| sleeper.reads(BYE));
    let (is_good, text) = told(stop(&torpor.dir()));
    assert!(!is_good && text.contains("(is torpor serve running?)"), "{text}");
    // What is left at the paths is in nobody's way.
    torpor.succeed();
    sleepers(&torpor, 1);
}

#[test]
fn a_stop_ends_the_front_and_who_is_awake() {
    let log_in = |place: &Place| {
        let mut client = place.connect();
        client.write_all(b"a LOGIN ann pw\r\n").expect("sent");
        assert!(place::line(&mut client).starts_with("a OK "));
        client
    };
    let stops = |place: &Place| {
        let torpor = &place.torpor;
        let expected = "stopped: BYE to 0 sleepers and to all who were awake\n".to_owned();
        assert_eq!(told(stop(&torpor.dir())), (true, expected), "{}", torpor.log());
        assert!(torpor.pids("front").is_empty() && torpor.pids("worker").is_empty());
    };
    let place = Place::start("hibernate_after_ms = 0\n");
    let mut ann = log_in(&place);
    stops(&place);
    assert!(place::rest(&mut ann).starts_with("* BYE "));
    // Another one whose keeper is killed.
    let place = Place::start("hibernate_after_ms = 0\n");
    let mut ann = log_in(&place);
    place.torpor.signal(Signal::SIGKILL);
    place.torpor.wait();
    stops(&place);
    assert!(place::rest(&mut ann).starts_with("* BYE "));
}

/// Although he can connect: an engine could, which has CAP_DAC_OVERRIDE.
#[test]
fn who_is_not_the_keepers_user_stops_nothing() {
    if !Uid::effective().is_root() {
        return;
    }
    let torpor = Torpor::start("");
    let _all = sleepers(&torpor, 1);
    let programs = crate::upgrade::programs::Programs::new();
    let open = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    };
    let socket = torpor.dir().join("torpor.keeper");
    for path in [programs.dir(), &torpor.dir(), torpor.dir().parent().expect("a folder")] {
        open(path, 0o777);
    }
    let his = programs.copy("his");
    let asks = || {
        let mut command = Command::new(&his);
        told(command.uid(4242).args(["stop", "--base-dir"]).arg(torpor.dir()).output().expect("it"))
    };
    let (is_good, text) = asks();
    assert!(!is_good && text.contains("only root and the user of torpor may ask"), "{text}");
    open(&socket, 0o777);
    let (is_good, text) = asks();
    let expected = "torpor: uid 4242 may not ask for an upgrade or a stop: only root may\n";
    assert_eq!((is_good, text.as_str()), (false, expected));
    assert_eq!(torpor.json(&["stats"])["counters"]["asleep"], 1, "{}", torpor.log());
}
