//! The whole `torpor serve` beside a Dovecot of which only the sockets are there; and without one.

mod crash;
mod dense;
mod engines;
mod front;
mod keeper;
mod kills;
mod own;
mod parts;
mod place;
mod privileges;
mod readers;
mod sleeper;
mod stop;
mod systemd;
mod takers;
mod upgrade;
mod vaultless;
mod watches;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use parts::{Torpor, eventually, scrape};

#[test]
fn operators_see_and_kick_sleepers() {
    let torpor = Torpor::start("");
    let mut ann = torpor.hibernate("ann", "s1");
    let mut bob = torpor.hibernate("bob\ttab", "s2");
    let who = torpor.json(&["who"]);
    assert_eq!(who["count"], 2);
    let client = &who["clients"][0];
    assert_eq!(client["user"], "ann");
    assert_eq!(client["remote_ip"], "192.0.2.7");
    assert_eq!(client["state"], "asleep");
    assert_eq!(torpor.json(&["who", "bob\ttab"])["clients"][0]["session"], "s2");
    assert_eq!(torpor.json(&["who", "nobody"])["count"], 0);

    assert_eq!(torpor.json(&["kick", "ann", "--session", "s2"])["kicked"], 0, "not ann's");
    assert_eq!(torpor.json(&["kick", "ann"])["kicked"], 1);
    let mut text = String::new();
    ann.read_to_string(&mut text).expect("an orderly end");
    assert_eq!(text, "* BYE User kicked.\r\n");
    bob.set_nonblocking(true).expect("a socket");
    assert!(bob.read(&mut [0]).is_err(), "bob sleeps on, undisturbed");

    let stats = torpor.json(&["stats"]);
    assert_eq!(stats["counters"]["hibernated"], 2);
    assert_eq!(stats["counters"]["kicked"], 1);
    assert_eq!(stats["counters"]["asleep"], 1);
}

#[test]
fn scrapers_get_the_counters() {
    let listen = "127.0.0.1:0";
    let torpor = Torpor::start(&format!("[metrics]\nlisten = \"{listen}\"\n"));
    let address = torpor.logged("metrics at http://", "/metrics");
    let _ann = torpor.hibernate("ann", "s1");
    eventually("one sleeper", || scrape(&address).contains("\ntorpor_asleep 1\n"));
    let text = scrape(&address);
    assert!(!text.contains("torpor_workers"), "there is no front");
    for line in ["torpor_hibernated_total 1", "torpor_wakes_total{cause=\"input\"} 0", "# EOF"] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

#[test]
fn a_socket_that_was_removed_is_made_again() {
    let torpor = Torpor::start("");
    let path = torpor.dir().join("imap-hibernate");
    let listens = || UnixStream::connect(&path).is_ok();
    let first = torpor.hibernate("ann", "s1");
    std::fs::remove_file(&path).expect("it was there");
    eventually("the socket is back", listens);
    let _second = torpor.hibernate("bob", "s2");
    assert_eq!(torpor.json(&["who"])["count"], 2);
    drop(first);
    eventually("the first has left", || torpor.json(&["who"])["count"] == 1);

    // Dovecot's folder goes and comes back.
    std::fs::remove_dir_all(torpor.dir()).expect("removed");
    std::fs::create_dir(torpor.dir()).expect("made again");
    eventually("both sockets are back", || {
        listens() && UnixStream::connect(torpor.control()).is_ok()
    });
    let _third = torpor.hibernate("eve", "s3");
    assert_eq!(torpor.json(&["who"])["count"], 2);
}

#[test]
fn another_listener_is_left_alone() {
    let refused = |torpor: &Torpor| {
        let output = torpor.again();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let torpor = Torpor::start("");
    let text = refused(&torpor);
    assert!(text.contains("another torpor serves it already, and its keeper lives"), "{text}");
    let _ann = torpor.hibernate("ann", "s1");
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
    let path = torpor.dir().join("imap-hibernate");
    let _dovecot = UnixListener::bind(&path).expect("nobody is there");
    let text = refused(&torpor);
    assert!(text.contains("another program is there"), "{text}");
    assert!(text.contains("mode = 0"), "it names the fix: {text}");
    assert!(path.exists(), "it is left alone");
}

#[test]
fn a_reload_disturbs_nobody_and_a_bad_file_changes_nothing() {
    let torpor = Torpor::start("[wake]\nworkers_max = 9\n");
    let mut ann = torpor.hibernate("ann", "s1");
    torpor.configure("[wake]\nworkers_max = 0\n");
    torpor.signal(Signal::SIGHUP);
    torpor.logged("workers_max: 0 is out of range", "stays in force");
    torpor.configure("[hibernate]\nallowed_uids = [4242]\n[sleep]\nslots_max = 5\n");
    torpor.signal(Signal::SIGHUP);
    torpor.logged("a change in [sleep]", "next start");
    torpor.logged("configuration", "reloaded");
    assert!(torpor.try_hibernate("bob", "s2").is_err(), "our uid is not allowed any more");
    assert_eq!(torpor.json(&["who"])["count"], 1);

    torpor.signal(Signal::SIGTERM);
    let mut text = String::new();
    ann.read_to_string(&mut text).expect("an orderly end");
    assert_eq!(text, "* BYE Server shutting down.\r\n");
    assert!(torpor.wait().success());
    assert!(!torpor.dir().join("imap-hibernate").exists(), "workers are not kept waiting");
}

#[test]
fn anvil_of_2_3_is_told_and_told_again_after_its_restart() {
    let torpor = Torpor::start("");
    let path = torpor.dir().join("anvil");
    let ann = torpor.hibernate("ann", "s1");
    let listener = UnixListener::bind(&path).expect("anvil's socket");
    let mut anvil = BufReader::new(listener.accept().expect("torpor").0);
    let mut line = String::new();
    let mut next = |anvil: &mut BufReader<UnixStream>| {
        line.clear();
        anvil.get_ref().set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        anvil.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    };
    assert_eq!(next(&mut anvil), "VERSION\tanvil\t1\t0");
    let connect = next(&mut anvil);
    let pid = connect.split('\t').nth(1).expect("a pid").to_owned();
    assert_eq!(connect, format!("CONNECT\t{pid}\timap/192.0.2.7/ann"));
    let ours = [torpor.engine_pids(), vec![torpor.pid()]].concat();
    assert!(!ours.contains(&pid.parse().expect("a pid")), "a kick must not hit the engine");

    let _bob = torpor.hibernate("bob", "s2");
    assert_eq!(next(&mut anvil), format!("CONNECT\t{pid}\timap/192.0.2.7/bob"));
    drop(ann);
    assert_eq!(next(&mut anvil), format!("DISCONNECT\t{pid}\timap/192.0.2.7/ann"));

    // What `doveadm kick -f` of 2.3 does.
    torpor.signal_pid(&pid, Signal::SIGTERM);
    drop(anvil);
    let mut anvil = BufReader::new(listener.accept().expect("torpor").0);
    assert_eq!(next(&mut anvil), "VERSION\tanvil\t1\t0");
    assert_eq!(next(&mut anvil), format!("CONNECT\t{pid}\timap/192.0.2.7/bob"), "the same pid");
    let _eve = torpor.hibernate("eve", "s3");
    assert_eq!(next(&mut anvil), format!("CONNECT\t{pid}\timap/192.0.2.7/eve"), "and once");
}

#[test]
fn anvil_of_2_4_kicks_by_user_and_by_connection() {
    let torpor = Torpor::start("");
    let listener = UnixListener::bind(torpor.dir().join("anvil")).expect("anvil's socket");
    let (mut stream, _) = listener.accept().expect("torpor");
    stream.write_all(b"VERSION\tanvil-server\t2\t0\n").expect("greeted");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    assert_eq!(lines.next().as_deref(), Some("VERSION\tanvil-client\t2\t0"));
    assert_eq!(lines.next().as_deref(), Some(""), "no orders on this connection");
    let mut first = torpor.hibernate("ann", "s1");
    let line = lines.next().expect("a line");
    let fields: Vec<&str> = line.split('\t').collect();
    let (guid, pid) = (fields[1], fields[2]);
    assert_eq!(line, format!("CONNECT\t{guid}\t{pid}\tann\timap-hibernate\t192.0.2.7\tA\t"));
    let second = torpor.hibernate("ann", "s2");

    let path = torpor.dir().join("srv.imap-hibernate").join(pid);
    // The path is there a moment before anybody listens.
    eventually("the admin socket is there", || UnixStream::connect(&path).is_ok());
    let kick = |order: &str| {
        let mut admin = UnixStream::connect(&path).expect("the admin socket");
        let text = format!("VERSION\tmaster-admin-client\t1\t0\n{order}\n");
        admin.write_all(text.as_bytes()).expect("sent");
        let mut lines = BufReader::new(admin).lines().map(|line| line.expect("a line"));
        assert_eq!(lines.next().as_deref(), Some("VERSION\tmaster-admin-server\t1\t0"));
        lines.next().expect("an answer")
    };
    assert_eq!(kick("KICK-USER\tnobody"), "+0");
    assert_eq!(kick("KICK-ALL"), "-Unknown command");
    assert_eq!(kick(&format!("KICK-USER\tann\t{guid}")), "+1");
    let mut text = String::new();
    first.read_to_string(&mut text).expect("an orderly end");
    assert_eq!(text, "* BYE User kicked.\r\n");
    assert_eq!(kick(&format!("KICK-USER\tann\t{guid}")), "+0", "it has gone");
    assert_eq!(torpor.json(&["who"])["count"], 1, "the second sleeps on");
    assert_eq!(kick("KICK-USER\tann"), "+1");
    drop(second);
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let mut torpor =
        Torpor::start_with("[log]\nlevel = \"debug\"\nformat = \"json\"\n", |command| {
            command.stderr(Stdio::piped());
        });
    let pipe = torpor.take_stderr();
    // Far more than a pipe's 64 KiB.
    for number in 0..400 {
        drop(torpor.hibernate(&format!("user-with-a-long-name-{number:0200}"), "s"));
    }
    eventually("all have left", || torpor.json(&["stats"])["counters"]["asleep"] == 0);
    assert_eq!(torpor.json(&["stats"])["counters"]["hibernated"], 400);
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
    drop(pipe);
}

/// The worker greets, takes the client and never answers; it is not lost silently.
fn silent_worker(config: &str) -> Torpor {
    let torpor = Torpor::start(&format!("[wake]\nack_timeout_ms = 1000\n{config}"));
    let mut ann = torpor.hibernate("ann", "s1");
    let master = UnixListener::bind(torpor.dir().join("imap-master")).expect("a worker's socket");
    ann.write_all(b"DONE\r\n").expect("sent");
    let (mut worker, _) = master.accept().expect("a wake");
    worker.write_all(b"VERSION\timap-master\t1\t0\n").expect("greeted");
    let mut text = Vec::new();
    ann.read_to_end(&mut text).expect("shut down");
    assert_eq!(text, b"", "it may not be told anything: the worker may have written");
    torpor
}

#[test]
fn a_lost_client_is_logged_as_dovecot_does() {
    let torpor = silent_worker("[log]\nlevel = \"debug\"\n");
    let prefix = format!("imap-hibernate(ann)<{}><s1>: ", torpor.engine_pids()[0]);
    torpor.logged(&format!("{prefix}Debug: Hibernated with no mailbox"), "selected");
    let error = torpor.logged(&format!("{prefix}Error: Failed to unhibernate client: "), "imap");
    assert_eq!(error, "Timeout communicating with ");
    torpor.logged(&format!("{prefix}Info: Disconnected: Failed to "), "client in=0 out=0");
    assert_eq!(torpor.json(&["stats"])["counters"]["lost"], 1);
}

#[test]
fn events_have_dovecots_names_and_fields() {
    let torpor = silent_worker("[log]\nlevel = \"debug\"\nformat = \"json\"\n");
    torpor.logged("imap_client_disconnected", "in=0");
    let events = torpor.log_json();
    let find = |name: &str| {
        let found = events.iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("{name} is missing in {events:?}")).clone()
    };
    let asleep = find("imap_client_hibernated");
    assert_eq!((&asleep["user"], &asleep["session"]), (&"ann".into(), &"s1".into()));
    assert_eq!((&asleep["remote_ip"], &asleep["level"]), (&"192.0.2.7".into(), &"DEBUG".into()));
    let failed = find("imap_client_unhibernated");
    assert_eq!(failed["level"], "ERROR");
    assert!(failed["hibernation_usecs"].as_u64().is_some_and(|us| us >= 1_000_000), "{failed}");
    assert!(failed["error"].as_str().is_some_and(|text| text.starts_with("Timeout")), "{failed}");
    assert_eq!(find("imap_client_disconnected")["stats"], "in=0 out=0");
}
