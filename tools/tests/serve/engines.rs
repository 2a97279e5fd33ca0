//! The keeper and its engines: one that dies is started again, and several look like one.

use std::io::Read;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::parts::{Torpor, eventually, scrape};

#[test]
fn an_engine_that_is_killed_is_started_again() {
    let torpor = Torpor::start("");
    let first = torpor.engine_pids()[0];
    assert_ne!(first, torpor.pid(), "the keeper is another process");
    torpor.signal_pid(&first.to_string(), Signal::SIGKILL);
    torpor.logged("engine 1 has ended: signal: 9 (SIGKILL)", "started again");
    // Whoever comes before the next one is up waits for it in the queue.
    let _ann = torpor.hibernate("ann", "s1");
    assert_ne!(torpor.engine_pids()[0], first);
    torpor.signal(Signal::SIGTERM);
    assert!(torpor.wait().success());
}

#[test]
fn several_engines_share_the_clients_and_look_like_one() {
    let config = "engines = 2\n[wake]\nworkers_max = 7\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
    let torpor = Torpor::start(config);
    let address = torpor.logged("metrics at http://", "/metrics");
    let clients: Vec<UnixStream> =
        (0..40).map(|n| torpor.hibernate(&format!("u{}", n % 4), &format!("s{n}"))).collect();
    eventually("all sleep", || torpor.json(&["stats"])["counters"]["asleep"] == 40);
    // Whoever answers: each connection may be taken by another engine.
    for _ in 0..8 {
        let stats = torpor.json(&["stats"]);
        assert_eq!(
            (&stats["counters"]["asleep"], &stats["pid"]),
            (&40.into(), &torpor.pid().into())
        );
        let engines = stats["engines"].as_array().expect("a list");
        let asleep: Vec<u64> = engines.iter().filter_map(|it| it["asleep"].as_u64()).collect();
        assert!(asleep.len() == 2 && asleep.iter().all(|count| *count >= 5), "shared: {asleep:?}");
        let who = torpor.json(&["who"]);
        assert_eq!(
            (&who["count"], who["clients"].as_array().map(Vec::len)),
            (&40.into(), Some(40))
        );
        assert_eq!(torpor.json(&["who", "u3"])["count"], 10);
    }
    let text = scrape(&address);
    for line in
        ["torpor_asleep 40\n", "torpor_hibernated_total 40\n", "engine_asleep{engine=\"2\"}"]
    {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    let mut doctor = std::process::Command::new(env!("CARGO_BIN_EXE_torpor"));
    doctor.arg("doctor").arg("--config").arg(torpor.dir().with_file_name("toml"));
    let said = doctor.arg("--base-dir").arg(torpor.dir()).output().expect("it runs").stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("2 engines of ") && said.contains(" answer at "), "{said}");
    assert_eq!(torpor.json(&["kick", "u3"])["kicked"], 10, "wherever they sleep");
    let bye = |mut client: &UnixStream| {
        let mut text = String::new();
        client.read_to_string(&mut text).expect("an orderly end");
        text
    };
    assert_eq!(bye(&clients[3]), "* BYE User kicked.\r\n");

    torpor.configure("engines = 2\n[hibernate]\nallowed_uids = [4242]\n");
    torpor.signal(Signal::SIGHUP);
    eventually("both have reloaded", || {
        torpor.log().matches("configuration reloaded").count() == 2
    });
    torpor.try_hibernate("eve", "s").expect_err("whichever engine it is");
    torpor.signal(Signal::SIGTERM);
    assert_eq!(bye(&clients[0]), "* BYE Server shutting down.\r\n");
    assert_eq!(bye(&clients[1]), "* BYE Server shutting down.\r\n");
    assert!(torpor.wait().success());
    let left = std::fs::read_dir(torpor.dir()).expect("base_dir").count();
    assert_eq!(left, 0, "no socket is left");
}

#[test]
fn a_dead_engine_takes_nobody_along() {
    let torpor = Torpor::start("engines = 2\n");
    let _clients: Vec<UnixStream> =
        (0..20).map(|n| torpor.hibernate("ann", &format!("s{n}"))).collect();
    let stats = torpor.json(&["stats"]);
    let hers = stats["engines"][0]["asleep"].as_u64().expect("a number");
    torpor.signal_pid(&stats["engines"][0]["pid"].to_string(), Signal::SIGKILL);
    eventually("both answer for all again", || {
        let engines = torpor.engine_pids();
        engines.len() == 2 && torpor.json(&["stats"])["counters"]["asleep"] == 20
    });
    assert_eq!(torpor.json(&["stats"])["counters"]["revived"], hers);
    let _eve = torpor.hibernate("eve", "s");
}

#[test]
fn an_engine_serves_on_without_its_keeper() {
    let torpor = Torpor::start("");
    let mut ann = torpor.hibernate("ann", "s1");
    let engine = torpor.engine_pids()[0];
    torpor.signal(Signal::SIGKILL);
    torpor.logged("the keeper has gone", "goes on serving alone");
    let _bob = torpor.hibernate("bob", "s2");
    assert_eq!(torpor.engine_pids(), [engine], "it is the same one");
    assert_eq!(torpor.json(&["who"])["count"], 2);
    // It takes over the word of its keeper, too.
    torpor.signal_pid(&engine.to_string(), Signal::SIGTERM);
    let mut text = String::new();
    ann.read_to_string(&mut text).expect("an orderly end");
    assert_eq!(text, "* BYE Server shutting down.\r\n");
}
