//! 500 clients on real servers: all asleep, no worker left, storms without a loss.

use serde_json::{Value, json};
use torpor::dovecot::{Options, Owner, Version, raise_open_files};

use super::binary;
use super::scene::{Out, Scene};

#[test]
fn builtin_worker_500_clients() {
    let binary = binary::release().expect("it builds");
    let scene = Scene::builtin(&binary, CLIENTS).expect("torpor starts");
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

/// Logs in, storms by DONE and by mail, and checks. `counted`: torpor says how many sleep.
fn everybody_is_answered(scene: &Scene, counted: bool) {
    raise_open_files();
    let binary = binary::release().expect("it builds");
    let folder = tempfile::tempdir().expect("a folder");
    let out = Out {
        json: folder.path().join("load.json"),
        report: Some(folder.path().join("load.html")),
    };
    let words = format!(
        "storm --clients {CLIENTS} --done 200 --mail 200 --processes 2 --logins-per-sec 400 --quiet"
    );
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let played = scene.load(&binary, &words, &out).expect("it runs");
    let asleep = point(&played, "after log in");
    assert_eq!(asleep["workers"], 0, "workers are left: {asleep}");
    if counted {
        assert_eq!(asleep["asleep"], CLIENTS, "{asleep}");
    }
    for (name, kind) in [("storm of 200 DONEs", "done"), ("storm of 200 mails", "mail")] {
        let acts = played["acts"].as_array().expect("acts");
        let act = acts.iter().find(|act| act["name"] == name).expect("it was played");
        let answer = &act["answers"][kind];
        assert_eq!((&answer["asked"], &answer["answered"]), (&json!(200), &json!(200)), "{act:#}");
    }
    assert_eq!(played["lost"], 0, "{played:#}");
    let report = std::fs::read_to_string(folder.path().join("load.html")).expect("a report");
    assert!(report.contains("500 clients, nobody lost") && report.contains("</html>"));
}

fn point<'a>(played: &'a Value, name: &str) -> &'a Value {
    let points = played["points"].as_array().expect("points");
    points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("{played:#}"))
}

const CLIENTS: u32 = 500;
