//! Thousands of sleepers that all wake at once: torpor's built-in worker, and beside it Dovecot
//! with its own imap-hibernate and with torpor.
//!
//! Everybody logs in and falls asleep; then some say DONE at once, and once all sleep again, some
//! get mail at once. Whoever is answered goes back to IDLE. In the end every client proves by a
//! DONE that it is still served. Stock Dovecot and Dovecot with torpor need root and dovecot-imapd.
//!
//! ```text
//! cargo bench -p torpor-suite --bench storm -- \
//!     [--clients 15000] [--done 5000] [--mail 5000] [--side builtin,stock] [--out DIR]
//! ```
//! Exit status 1: torpor lost somebody.

mod side {
    pub mod binary;
    pub mod builtin;
    pub mod floor;
    pub mod limits;
    pub mod scene;
    pub mod torpor;
}

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use torpor::dovecot::{Options, Owner, Version};

use side::floor::Floor;
use side::scene::{Out, Scene};

/// Storms on thousands of sleepers
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 15_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=50_000))]
    clients: u32,
    /// How many say DONE at once
    #[arg(long, default_value_t = 5_000)]
    done: u32,
    /// How many get mail at once
    #[arg(long, default_value_t = 5_000)]
    mail: u32,
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["builtin", "stock"])]
    side: Vec<Which>,
    /// Version of Dovecot; 2.4 runs the root that tests/lib/root24 unpacks
    #[arg(long, default_value = "2.3", value_parser = ["2.3", "2.4"])]
    version: String,
    /// process_limit of Dovecot's imap service; 1024 is stock
    #[arg(long, default_value_t = 1024)]
    imap_process_limit: u32,
    #[arg(long, default_value_t = 150.0)]
    logins_per_sec: f64,
    /// Seconds that an answered client stays out of IDLE
    #[arg(long)]
    awake: Option<f64>,
    /// Folder for each side's JSON and report
    #[arg(long)]
    out: Option<PathBuf>,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// torpor serve --maildir
    Builtin,
    /// Dovecot and its imap-hibernate
    Stock,
    /// Dovecot and torpor
    Torpor,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Builtin => "built-in worker",
            Which::Stock => "stock Dovecot",
            Which::Torpor => "Dovecot, torpor",
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let floor = Floor::lay(arguments.out.as_deref())?;
    let (mut heads, mut columns, mut fine) = (Vec::new(), Vec::new(), true);
    for which in &arguments.side {
        eprintln!("== {}", which.name());
        let played = play(*which, &arguments, &floor)?;
        fine &= *which == Which::Stock || played["lost"] == 0;
        heads.push(which.name());
        columns.push(column(&played));
    }
    println!("{}", table(&heads, &columns));
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(
    which: Which,
    arguments: &Arguments,
    Floor { binary, folder, .. }: &Floor,
) -> Result<Value, Box<dyn Error>> {
    let version = if arguments.version == "2.4" { Version::V24 } else { Version::V23 };
    let options = Options {
        users: arguments.clients,
        imap_process_limit: arguments.imap_process_limit,
        owner: if which == Which::Stock { Owner::Stock } else { Owner::Torpor },
        ..Options::new(version)
    };
    let scene = match which {
        Which::Builtin => Scene::builtin(binary, arguments.clients)?,
        Which::Stock | Which::Torpor => Scene::dovecot(&options, binary)?,
    };
    let Arguments { clients, done, mail, logins_per_sec, awake, .. } = arguments;
    let mut words = format!("storm --clients {clients} --logins-per-sec {logins_per_sec}");
    // A machine that is slow is not a server that loses clients.
    words += &format!(" --answer-timeout {ANSWER_WITHIN_SECS}");
    for (name, count) in [("done", done), ("mail", mail)] {
        if *count > 0 {
            words += &format!(" --{name} {count}");
        }
    }
    if let Some(secs) = awake {
        words += &format!(" --awake {secs}");
    }
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let name = format!("{which:?}").to_lowercase();
    let file = |end: &str| folder.join(format!("storm-{name}.{end}"));
    Ok(scene.load(binary, &words, &Out { json: file("json"), report: Some(file("html")) })?)
}

/// The names of the rows and how a side fared in each.
fn column(played: &Value) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let points = played["points"].as_array().cloned().unwrap_or_default();
    let asleep = points.iter().find(|point| point["name"] == "after log in");
    if let Some(asleep) = asleep {
        rows.push(("workers left, all asleep".to_owned(), asleep["workers"].to_string()));
    }
    for act in played["acts"].as_array().into_iter().flatten() {
        let name = act["name"].as_str().unwrap_or_default();
        let kind = match name {
            "log in" => "login",
            _ if act["plan"]["storm"]["what"] == "mail" => "mail",
            _ => "done",
        };
        let answer = &act["answers"][kind];
        let secs = |key: &str| answer[key].as_f64().map(|us| format!("{:.2} s", us / 1e6));
        let (asked, answered) = (&answer["asked"], &answer["answered"]);
        rows.push((format!("{name}: answered"), format!("{answered} of {asked}")));
        for (label, key) in
            [("the first", "min_us"), ("p50", "p50_us"), ("p99", "p99_us"), ("the last", "max_us")]
        {
            rows.push((format!("{name}: {label}"), secs(key).unwrap_or_default()));
        }
        let died: u64 = act["died"].as_object().into_iter().flatten().map(|(_, n)| count(n)).sum();
        rows.push((format!("{name}: clients lost"), died.to_string()));
    }
    let samples = played["samples"].as_array().into_iter().flatten();
    let workers = samples.map(|sample| count(&sample["seen"]["workers"])).max();
    rows.push(("workers at once".to_owned(), workers.unwrap_or_default().to_string()));
    rows.push(("lost in all".to_owned(), played["lost"].to_string()));
    rows
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn table(heads: &[&str], columns: &[Vec<(String, String)>]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([""].iter().chain(heads).copied());
    // Every side plays the same acts.
    for (at, (name, _)) in columns.first().into_iter().flatten().enumerate() {
        let cell = |column: &Vec<(String, String)>| column.get(at).map(|(_, text)| text.clone());
        let cells = columns.iter().map(|column| cell(column).unwrap_or_default());
        table.add_row([name.clone()].into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

const ANSWER_WITHIN_SECS: u32 = 600;
