//! How a server fared in storms, out of what `torpor load` says as JSON, and what was promised.

use serde_json::Value;

/// A whole run on one server.
pub struct Fared {
    /// Workers that were left when all slept.
    workers_left: u64,
    logged_in: Answers,
    storms: Vec<Storm>,
    check: Answers,
    pub lost: u64,
    /// True when whoever holds the sleepers was to be killed in each storm.
    kills: bool,
}

/// One storm.
struct Storm {
    name: String,
    /// True when clients said DONE, false when they got mail.
    is_done: bool,
    answers: Answers,
    /// Logins in its midst.
    newcomers: Answers,
    clients_lost: u64,
    /// Most worker processes at once.
    workers_max: u64,
    /// Answers that had come when whoever holds the sleepers was killed.
    killed_after: Option<u64>,
}

/// Questions of one kind; times in microseconds.
#[derive(Default)]
struct Answers {
    asked: u64,
    answered: u64,
    /// From the first question of all to the first answer of all.
    first: u64,
    p50: u64,
    p99: u64,
    last: u64,
}

/// A promise, and whether it was kept.
pub struct Verdict {
    pub promise: String,
    pub found: String,
    pub kept: bool,
}

impl Fared {
    /// `kills`: whoever holds the sleepers was to be killed in each storm.
    pub fn read(played: &Value, kills: bool) -> Self {
        let list = |name: &str| played[name].as_array().into_iter().flatten();
        let act = |name: &str| list("acts").find(|act| act["name"] == name);
        let answers = |name: &str, kind: &str| {
            act(name).map(|act| Answers::read(&act["answers"][kind])).unwrap_or_default()
        };
        let asleep = list("points").find(|point| point["name"] == "after log in");
        let storms = list("acts").filter(|act| act["plan"]["storm"].is_object());
        Self {
            workers_left: asleep.map(|point| count(&point["workers"])).unwrap_or_default(),
            logged_in: answers("log in", "login"),
            storms: storms.map(|act| Storm::read(act, &played["samples"])).collect(),
            check: answers("check", "done"),
            lost: count(&played["lost"]),
            kills,
        }
    }

    /// Names and figures, the same names for all who played the same acts.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("workers left, all asleep".to_owned(), self.workers_left.to_string()),
            ("log in: answered".to_owned(), self.logged_in.share()),
        ];
        for storm in &self.storms {
            rows.extend(storm.rows());
            if self.kills {
                rows.push(storm.kill_row());
            }
        }
        rows.push(("check: answered".to_owned(), self.check.share()));
        rows.push(("lost in all".to_owned(), self.lost.to_string()));
        rows
    }

    /// What was promised of torpor. `raised`: stock, with a worker for everybody at once.
    pub fn verdicts(&self, raised: Option<&Self>) -> Vec<Verdict> {
        let lost = Verdict::at_most("clients lost", self.lost, 0, "");
        let storms = self.storms.iter().flat_map(|storm| {
            let same = raised.map(|raised| raised.storms.iter());
            let beside = same.and_then(|mut storms| storms.find(|other| other.name == storm.name));
            let kill = self.kills.then(|| storm.kill_verdict());
            storm.verdicts(beside).into_iter().chain(kill)
        });
        [lost].into_iter().chain(storms).collect()
    }
}

impl Storm {
    fn read(act: &Value, samples: &Value) -> Self {
        let is_done = act["plan"]["storm"]["what"] == "done";
        let began = act["began_secs"].as_f64().unwrap_or_default();
        let during = began..=began + act["secs"].as_f64().unwrap_or_default();
        let samples = samples.as_array().into_iter().flatten();
        let meanwhile =
            samples.filter(|sample| sample["secs"].as_f64().is_some_and(|at| during.contains(&at)));
        let workers = meanwhile.map(|sample| count(&sample["seen"]["workers"]));
        Self {
            name: act["name"].as_str().unwrap_or_default().to_owned(),
            is_done,
            answers: Answers::read(&act["answers"][if is_done { "done" } else { "mail" }]),
            newcomers: Answers::read(&act["answers"]["login"]),
            clients_lost: act["died"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(_, n)| count(n))
                .sum(),
            workers_max: workers.max().unwrap_or_default(),
            killed_after: act["midway"]["answered"].as_u64(),
        }
    }

    fn rows(&self) -> Vec<(String, String)> {
        let Answers { first, p50, p99, last, .. } = self.answers;
        let rows = [
            ("answered", self.answers.share()),
            ("the first answer", secs(first)),
            ("p50", secs(p50)),
            ("p99", secs(p99)),
            ("the last", secs(last)),
            ("workers at once", self.workers_max.to_string()),
            ("new logins meanwhile", self.newcomers.share()),
            ("the slowest of them", secs(self.newcomers.last)),
            ("clients lost", self.clients_lost.to_string()),
        ];
        rows.map(|(label, figure)| (format!("{}: {label}", self.name), figure)).into()
    }

    fn kill_row(&self) -> (String, String) {
        let after = self.killed_after.map_or("-".to_owned(), |answers| answers.to_string());
        (format!("{}: answers before the kill", self.name), after)
    }

    fn kill_verdict(&self) -> Verdict {
        let promise = format!("{}: the engine killed in its midst", self.name);
        let found = self.killed_after.map_or("no".to_owned(), |answers| format!("at {answers}"));
        let kept = self.killed_after.is_some_and(|answers| answers < self.answers.asked);
        Verdict { promise, found, kept }
    }

    fn verdicts(&self, beside: Option<&Self>) -> Vec<Verdict> {
        let Self { name, answers, newcomers, workers_max, .. } = self;
        let unanswered = answers.asked - answers.answered;
        let shut_out = newcomers.asked - newcomers.answered;
        let label = |what: &str| format!("{name}: {what}");
        let mut verdicts = vec![
            Verdict::at_most(&label("without an answer"), unanswered, 0, ""),
            Verdict::at_most(&label("the first answer"), answers.first / 1000, FIRST_MS_MAX, " ms"),
            Verdict::at_most(&label("workers at once"), *workers_max, WORKERS_MAX, ""),
            Verdict::at_most(&label("new logins that failed"), shut_out, 0, ""),
        ];
        if let Some(stock) = beside.filter(|_| self.is_done) {
            let (ours, theirs) = (answers.last / 1000, stock.answers.last / 1000);
            verdicts.push(Verdict::at_most(&label("the last"), ours, theirs, " ms"));
        }
        verdicts
    }
}

impl Answers {
    fn read(answer: &Value) -> Self {
        Self {
            asked: count(&answer["asked"]),
            answered: count(&answer["answered"]),
            first: count(&answer["first_us"]),
            p50: count(&answer["p50_us"]),
            p99: count(&answer["p99_us"]),
            last: count(&answer["max_us"]),
        }
    }

    fn share(&self) -> String {
        format!("{} of {}", self.answered, self.asked)
    }
}

impl Verdict {
    fn at_most(name: &str, found: u64, most: u64, unit: &str) -> Self {
        let promise = format!("{name}, at most {most}{unit}");
        Self { promise, found: format!("{found}{unit}"), kept: found <= most }
    }
}

fn secs(us: u64) -> String {
    format!("{:.2} s", us as f64 / 1e6)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

const FIRST_MS_MAX: u64 = 100;
/// Of Dovecot's stock process_limit of 1024: logins find room.
const WORKERS_MAX: u64 = 900;
