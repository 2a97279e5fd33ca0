//! The whole of it without Dovecot: real logins, workers, sleep and wakes over TCP.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use torpor::dovecot::{Client, Mailbox, Options};
use torpor::own::Own;

use crate::parts::eventually;

/// With clients that sleep soon. Not within `late_change_ms` (600): that would be taken for a
/// change that came too late to be noticed, and wake them for nothing.
fn start(users: u32, config: &str) -> Own {
    let config = format!("hibernate_after_ms = 700\n{config}");
    Own::start(Path::new(env!("CARGO_BIN_EXE_torpor")), users, &config).expect("torpor starts")
}

/// Logged in and in IDLE, with the tag of it.
fn idler(own: &Own, number: u32) -> (Client, String) {
    Client::asleep(own.endpoint(), &Options::user(number)).expect("logged in")
}

fn counter(own: &Own, name: &str) -> u64 {
    own.stats().expect("an answer").counters[name]
}

fn all_sleep(own: &Own, count: u64) {
    eventually(&format!("{count} sleep, without a process"), || {
        counter(own, "asleep") == count && own.pids("worker").is_empty()
    });
}

#[test]
fn a_client_sleeps_without_a_process_and_wakes_for_mail_and_for_done() {
    let own = start(2, "");
    own.mailbox(&Options::user(1)).deliver(&Mailbox::message("first")).expect("delivered");
    let (mut client, tag) = idler(&own, 1);
    assert_eq!(own.pids("worker").len(), 1, "awake until it has idled for a while");
    all_sleep(&own, 1);
    own.mailbox(&Options::user(1)).deliver(&Mailbox::message("second")).expect("delivered");
    client.expect("* 2 EXISTS", Duration::from_secs(10)).expect("woken by mail");
    all_sleep(&own, 1);
    let lines = client.done(&tag).expect("woken by DONE");
    assert!(lines.iter().all(|line| !line.contains("EXISTS")), "told once: {lines:?}");
    let lines = client.command("FETCH 1:2 (BODY[HEADER.FIELDS (SUBJECT)])").expect("it works on");
    assert!(lines.iter().any(|line| line == "Subject: second"), "{lines:?}");
    client.command("LOGOUT").expect("a goodbye");
    eventually("its worker has ended", || own.pids("worker").is_empty());
    let stats = own.stats().expect("an answer");
    assert_eq!(stats.counters["unhibernated"], 2);
    assert_eq!((stats.front["workers_woken"], stats.front["workers_broken"]), (2, 0));
}

/// By a descriptor that the engine could not have made itself.
#[test]
fn a_mailbox_below_a_mark_wakes_without_a_watch() {
    if !Uid::effective().is_root() {
        println!("NOT TESTED: marks, which need CAP_SYS_ADMIN");
        return;
    }
    let config = format!("[watch]\nfanotify_dirs = [{:?}]\n", std::env::temp_dir());
    let own = start(1, &config);
    let (mut client, _) = idler(&own, 1);
    all_sleep(&own, 1);
    assert_eq!(counter(&own, "mailboxes"), 1);
    let pid = own.pids("engine")[0];
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it lives").flatten();
    let infos = infos.filter_map(|info| std::fs::read_to_string(info.path()).ok());
    let infos: String = infos.collect();
    assert!(infos.contains("fanotify sdev:") && !infos.contains("inotify wd:"), "{infos}");
    own.mailbox(&Options::user(1)).deliver(&Mailbox::message("hello")).expect("delivered");
    client.expect("* 1 EXISTS", Duration::from_secs(10)).expect("woken by mail");
}

#[test]
fn what_is_sent_behind_a_login_is_answered_by_the_worker() {
    let own = start(1, "");
    let mut client = Client::connect(own.endpoint()).expect("greeted");
    let commands = b"a LOGIN u00001 {2}\r\npw\r\nb SELECT INBOX\r\nc IDLE\r\n";
    client.send(commands).expect("sent");
    for answer in ["+ OK", "a OK [CAPABILITY IMAP4rev1", "b OK [READ-WRITE]", "+ "] {
        client.expect(answer, Duration::from_secs(10)).expect(answer);
    }
    all_sleep(&own, 1);
}

#[test]
fn a_full_engine_leaves_clients_with_their_workers() {
    let own = start(3, "[sleep]\nslots_max = 1\n");
    let mut clients: Vec<_> = (1..=3).map(|number| idler(&own, number)).collect();
    eventually("some are refused", || counter(&own, "refused_full") >= 2);
    eventually("one sleeps and two do not", || {
        (counter(&own, "asleep"), own.pids("worker").len()) == (1, 2)
    });
    for (number, (client, _)) in (1..).zip(&mut clients) {
        let mailbox = own.mailbox(&Options::user(number));
        mailbox.deliver(&Mailbox::message("hello")).expect("delivered");
        client.expect("* 1 EXISTS", Duration::from_secs(10)).expect("awake or asleep, it hears");
    }
}

#[test]
fn operators_see_and_kick_those_who_are_awake_too() {
    let own = start(2, "");
    let (mut sleeper, _) = idler(&own, 1);
    all_sleep(&own, 1);
    let mut awake = Client::login(own.endpoint(), &Options::user(2), "pw").expect("logged in");
    let control = own.base_dir().join("torpor.sock");
    let who = torpor::control::who(&control, None, false).expect("an answer");
    assert!(who.contains("1 asleep, 1 awake"), "{who}");
    let kick = |number| {
        let user = Options::user(number);
        torpor::control::kick(&control, user, None, true).expect("an answer").0
    };
    assert_eq!((kick(1), kick(2)), (1, 1));
    sleeper.expect("* BYE", Duration::from_secs(10)).expect("told");
    awake.expect("* BYE", Duration::from_secs(10)).expect("told");
    // A worker that was told to end counts until it has.
    eventually("its worker has ended", || kick(2) == 0);
}

#[test]
fn no_more_workers_than_allowed_and_logins_wait_for_their_turn() {
    let own = start(4, "workers_max = 2\nworker_wait_ms_max = 400\n");
    let login = |number| Client::login(own.endpoint(), &Options::user(number), "pw");
    // One place is kept for wakes.
    let mut first = login(1).expect("the only place");
    let refused = login(2).expect_err("full").to_string();
    assert!(refused.contains("NO [LIMIT]"), "{refused}");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| login(2));
        std::thread::sleep(Duration::from_millis(100));
        first.command("LOGOUT").expect("a goodbye");
        waiting.join().expect("no panic")
    });
    drop(waiting.expect("it got the place of the first"));
    // Sleepers take no place, and wake through the one that is kept.
    let (mut sleeper, tag) = loop {
        if let Ok(client) = Client::asleep(own.endpoint(), &Options::user(3)) {
            break client;
        }
    };
    all_sleep(&own, 1);
    let _busy = login(4).expect("the only place again");
    sleeper.done(&tag).expect("woken beside it");
}

#[test]
fn workers_outlive_their_front_and_end_with_torpor() {
    let own = start(3, "");
    let mut awake = Client::login(own.endpoint(), &Options::user(1), "pw").expect("logged in");
    let (mut sleeper, tag) = idler(&own, 2);
    eventually("one sleeps", || counter(&own, "asleep") == 1);
    let front = own.pids("front")[0];
    kill(Pid::from_raw(front), Signal::SIGKILL).expect("it lives");
    awake.command("NOOP").expect("its worker does not need the front");
    sleeper.done(&tag).expect("woken by the next front");
    let mut third = Client::login(own.endpoint(), &Options::user(3), "pw").expect("logged in");
    kill(Pid::from_raw(own.pid()), Signal::SIGTERM).expect("it lives");
    for client in [&mut awake, &mut sleeper, &mut third] {
        client.expect("* BYE", Duration::from_secs(10)).expect("everybody is told");
    }
    eventually("nobody is left", || own.pids("worker").is_empty() && own.pids("front").is_empty());
    let log = own.log();
    assert!(log.contains("the front has ended: signal: 9"), "{log}");
}

#[test]
fn the_demo_loses_nobody_and_leaves_nothing() {
    let place = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_torpor"));
    command.args(["demo", "--quick", "--json", "--clients", "30"]).env("TMPDIR", place.path());
    let output = command.output().expect("torpor starts");
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["clients"], &report["asleep"]), (&30.into(), &30.into()));
    assert_eq!((&report["workers_left"], &report["lost"]), (&0.into(), &0.into()));
    assert_eq!((&report["mail"]["woken"], &report["done"]["woken"]), (&10.into(), &10.into()));
    assert!(report["awake_kb"].as_u64().is_some_and(|kb| kb > 0), "{report}");
    let left = std::fs::read_dir(place.path()).expect("the folder").count();
    assert_eq!(left, 0, "it tidies up");
}
