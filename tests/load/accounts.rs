//! Every client and every answer is counted once, with the reason where there is none.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::binary;
use super::server::{Habit, Server};

/// Runs `torpor load` and returns its exit code and what it says as JSON.
fn load(server: &Server, words: &str) -> (Option<i32>, Value) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut command = Command::new(binary::release().expect("it builds"));
    command.arg("load").args(words.split(' ')).args(["--to", &server.address.to_string()]);
    command.args(["--quiet", "--settle", "0.2", "--logins-per-sec", "1000"]);
    let status = command.arg("--json").arg(file.path()).stdout(Stdio::null()).status();
    let code = status.expect("it runs").code();
    let text = std::fs::read_to_string(file.path()).expect("it has written");
    (code, serde_json::from_str(&text).expect("JSON"))
}

/// The act of this name.
fn act<'a>(played: &'a Value, name: &str) -> &'a Value {
    let acts = played["acts"].as_array().expect("acts");
    acts.iter().find(|act| act["name"] == name).unwrap_or_else(|| panic!("{name}: {played:#}"))
}

#[test]
fn every_way_to_lose_a_client_is_told_apart() {
    let server = Server::start(&[
        Habit::Good,
        Habit::Refuses,
        Habit::Closes,
        Habit::IgnoresLogin,
        Habit::Resets,
        Habit::SaysBye,
        Habit::IgnoresDone,
        Habit::WrongTag,
        Habit::Babbles,
    ]);
    let words = "storm --done 90 --clients 90 --login-timeout 1 --answer-timeout 1 --processes 3";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(1), "somebody was lost");
    let login = act(&played, "log in");
    let died = json!({
        "refused: go away": 10, "closed without a word": 10, "no answer in time": 10,
    });
    assert_eq!(login["died"], died);
    assert_eq!((&login["clients"], &login["alive"]), (&json!(90), &json!(60)));
    assert_eq!(login["answers"]["login"]["lost"], died, "each had its LOGIN open");
    assert_eq!(login["answers"]["login"]["answered"], 60);
    let storm = act(&played, "storm of 90 DONEs");
    let died = json!({
        "reset": 10,
        "BYE enough": 10,
        "no answer in time": 10,
        "wrong answer: tag z99 instead of a3: done": 10,
        r"wrong answer: \x01\x02": 10,
    });
    assert_eq!(storm["died"], died);
    assert_eq!(storm["answers"]["done"]["lost"], died);
    assert_eq!(storm["answers"]["done"]["asked"], 60);
    assert_eq!(storm["answers"]["done"]["answered"], 10);
    assert_eq!((&storm["alive"], &storm["skipped"]), (&json!(10), &json!(30)));
    let check = act(&played, "check");
    assert_eq!((&check["clients"], &check["left"]), (&json!(10), &json!(10)));
    assert_eq!((&played["lost"], &played["processes"]), (&json!(80), &json!(3)));
}

#[test]
fn newcomers_log_in_while_the_storm_blows_and_are_counted_there() {
    // u10, who comes second, is refused.
    let mut habits = vec![Habit::Good; 10];
    habits[0] = Habit::Refuses;
    let server = Server::start(habits.leak());
    let words = "storm --done 8 --clients 8 --newcomers 3 --processes 3";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(1), "one was refused");
    let login = act(&played, "log in");
    assert_eq!((&login["clients"], &login["alive"]), (&json!(8), &json!(8)));
    let storm = act(&played, "storm of 8 DONEs");
    assert_eq!((&storm["clients"], &storm["alive"]), (&json!(11), &json!(10)));
    let answers = &storm["answers"];
    assert_eq!((&answers["login"]["asked"], &answers["login"]["answered"]), (&json!(3), &json!(2)));
    assert_eq!((&answers["done"]["asked"], &answers["done"]["answered"]), (&json!(8), &json!(8)));
    assert_eq!(storm["died"], json!({ "refused: go away": 1 }));
    assert!(answers["done"]["first_us"].as_u64() <= answers["done"]["max_us"].as_u64());
    let check = act(&played, "check");
    assert_eq!((&check["clients"], &check["left"]), (&json!(10), &json!(10)), "newcomers too");
}

#[test]
fn mail_that_is_not_told_is_lost_and_mail_that_is_told_is_timed() {
    let server = Server::start(&[Habit::Good, Habit::HidesMail]);
    let words = "storm --mail 20 --clients 20 --append --answer-timeout 1 --no-check";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(1));
    let storm = act(&played, "storm of 20 mails");
    let mail = &storm["answers"]["mail"];
    assert_eq!((&mail["asked"], &mail["answered"]), (&json!(20), &json!(10)));
    assert_eq!(mail["lost"], json!({ "no answer in time": 10 }));
    assert!(mail["p50_us"].as_u64().is_some_and(|us| us > 0 && us < 1_000_000), "{mail}");
    assert_eq!((&storm["alive"], &played["lost"]), (&json!(10), &json!(10)));
}

#[test]
fn two_clients_of_one_user_hear_of_one_mail() {
    let server = Server::start(&[Habit::Good]);
    let words = "storm --mail 12 --clients 12 --clients-per-user 3 --append --processes 2";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(0), "{played:#}");
    let storm = act(&played, "storm of 12 mails");
    assert_eq!(storm["answers"]["mail"]["answered"], 12);
    assert_eq!(storm["unasked_exists"], 0, "four mails, each told three times");
}

#[test]
fn trickle_and_churn_leave_nobody_behind() {
    let server = Server::start(&[Habit::Good]);
    let words = "trickle --for 2 --mails-per-sec 20 --dones-per-sec 30 --clients 10 --append";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(0), "{played:#}");
    let answers = &act(&played, "trickle")["answers"];
    let mails = answers["mail"]["answered"].as_u64().expect("a number");
    let dones = answers["done"]["answered"].as_u64().expect("a number");
    assert!((36..=41).contains(&mails) && (54..=61).contains(&dones), "{mails} and {dones}");
    let words = "churn --for 3 --time-scale 600 --bursts 50 --clients 20";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(0), "{played:#}");
    let dones = act(&played, "churn")["answers"]["done"]["answered"].as_u64().expect("a number");
    assert!(dones > 500, "ten clients idle for 10 ms each time: {dones}");
}

#[test]
fn slow_clients_get_every_answer() {
    let server = Server::start(&[Habit::Good]);
    let words = "slow --for 3 --byte-ms 20 --closed-window 1 --flood 2000 --clients 8";
    let (code, played) = load(&server, words);
    assert_eq!(code, Some(0), "{played:#}");
    let answers = &act(&played, "slow")["answers"];
    assert_eq!(answers["drain"]["answered"], 4, "half of them do not read for a while");
    let dones = answers["done"]["answered"].as_u64().expect("a number");
    assert!((20..=80).contains(&dones), "half of them type DONE and IDLE: {dones}");
}

#[test]
fn a_server_that_is_not_there_loses_everybody() {
    let server = Server { address: ([127, 0, 0, 1], 9).into() };
    let (code, played) = load(&server, "idle --for 0 --clients 5 --no-check");
    assert_eq!(code, Some(1));
    let died = json!({ "no connection: connection refused": 5 });
    assert_eq!((&act(&played, "log in")["died"], &played["lost"]), (&died, &json!(5)));
}

/// A run that cannot account for its clients says so instead of printing less.
#[test]
fn a_crew_that_is_killed_ends_the_run() {
    let server = Server::start(&[Habit::Good]);
    let mut command = Command::new(binary::release().expect("it builds"));
    command.args(["load", "idle", "--clients", "4", "--processes", "2", "--quiet", "--to"]);
    command.arg(server.address.to_string()).stderr(Stdio::piped()).stdout(Stdio::null());
    let run = command.spawn().expect("it starts");
    thread::sleep(Duration::from_millis(500));
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let children = std::fs::read_to_string(children).expect("it runs");
    let crew = children.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a crew");
    let pid = nix::unistd::Pid::from_raw(crew);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is ours");
    let output = run.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("ended early; its clients are not counted"), "{text}");
}
