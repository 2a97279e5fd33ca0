//! 500 clients on real servers: all asleep, no worker left, storms without a loss.

use serde_json::{Value, json};
use torpor::dovecot::{Options, Owner, Version, raise_open_files};

use super::binary;
use super::kill;
use super::scene::{Out, Scene};

#[test]
fn builtin_worker_500_clients() {
    let binary = binary::release().expect("it builds");
    let scene = Scene::builtin(&binary, CLIENTS, 1).expect("torpor starts");
    everybody_is_answered(&scene, true);
}

#[test]
fn dovecot_and_torpor_500_clients() {
    let binary = binary::release().expect("it builds");
    let options = Options { users: CLIENTS, ..Options::new(Version::V23) };
    let scene = Scene::dovecot(&options, &binary).expect("Dovecot starts");
    everybody_is_answered(&scene, true);
}

#[test]
fn stock_dovecot_500_clients() {
    let binary = binary::release().expect("it builds");
    let options = Options { users: CLIENTS, owner: Owner::Stock, ..Options::new(Version::V23) };
    let scene = Scene::dovecot(&options, &binary).expect("Dovecot starts");
    everybody_is_answered(&scene, false);
}

/// Each storm goes on with the engine's heir.
#[test]
fn an_engine_killed_in_each_storm_loses_nobody() {
    let binary = binary::release().expect("it builds");
    let options = Options { users: CLIENTS, ..Options::new(Version::V23) };
    let scene = Scene::dovecot(&options, &binary).expect("Dovecot starts");
    // A worker whose request the kill has broken off keeps its client up to the next IDLE.
    let storms = format!("--done {CLIENTS} --mail {CLIENTS} --asleep-within 10");
    let (played, _) = play(&scene, &storms, &["--midway".to_owned(), kill::holders(&scene)]);
    for (name, kind) in [("storm of 500 DONEs", "done"), ("storm of 500 mails", "mail")] {
        let act = act(&played, name);
        let killed_after = act["midway"]["answered"].as_u64().expect("it was killed");
        assert!((167..500).contains(&killed_after), "killed in the midst: {killed_after}");
        assert_eq!(act["answers"][kind]["answered"], CLIENTS, "{act:#}");
    }
    assert_eq!(played["lost"], 0, "{played:#}");
}

/// Logs in, storms by DONE and by mail, and checks. `counted`: torpor says how many sleep.
fn everybody_is_answered(scene: &Scene, counted: bool) {
    let (played, report) = play(scene, "--done 200 --mail 200", &[]);
    let asleep = point(&played, "after log in");
    assert_eq!(asleep["workers"], 0, "workers are left: {asleep}");
    if counted {
        assert_eq!(asleep["asleep"], CLIENTS, "{asleep}");
    }
    for (name, kind) in [("storm of 200 DONEs", "done"), ("storm of 200 mails", "mail")] {
        let act = act(&played, name);
        let answer = &act["answers"][kind];
        assert_eq!((&answer["asked"], &answer["answered"]), (&json!(200), &json!(200)), "{act:#}");
    }
    assert_eq!(played["lost"], 0, "{played:#}");
    assert!(report.contains("500 clients, nobody lost") && report.contains("</html>"));
}

/// Plays the storms; what is told as JSON, and the report.
fn play(scene: &Scene, storms: &str, more: &[String]) -> (Value, String) {
    raise_open_files();
    let binary = binary::release().expect("it builds");
    let folder = tempfile::tempdir().expect("a folder");
    let (json, report) = (folder.path().join("load.json"), folder.path().join("load.html"));
    let out = Out { json, report: Some(report.clone()) };
    let words =
        format!("storm --clients {CLIENTS} {storms} --processes 2 --logins-per-sec 400 --quiet");
    let words = words.split(' ').map(str::to_owned);
    let words: Vec<String> = words.chain(more.iter().cloned()).collect();
    let played = scene.load(&binary, &words, &out).expect("it runs");
    (played, std::fs::read_to_string(report).expect("a report"))
}

fn act<'a>(played: &'a Value, name: &str) -> &'a Value {
    let acts = played["acts"].as_array().expect("acts");
    acts.iter().find(|act| act["name"] == name).expect("it was played")
}

fn point<'a>(played: &'a Value, name: &str) -> &'a Value {
    let points = played["points"].as_array().expect("points");
    points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("{played:#}"))
}

const CLIENTS: u32 = 500;
