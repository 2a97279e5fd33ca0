//! Hours of sleep with storms between: whatever leaks, grows here.
//!
//! Everybody logs in to torpor, with its built-in worker or with Dovecot's, and falls asleep; some
//! storms of everybody follow, in which everything is used for the first time. Then, again and
//! again, there is a rest, some say DONE at once, and some get mail at once. Each time all sleep
//! again, torpor's processes are weighed. In the end every client proves that it is still served.
//!
//! ```text
//! cargo bench -p torpor-suite --bench soak -- \
//!     [--clients 20000] [--engines 2] [--secs 7200] [--every 600] [--done 5000] [--mail 5000] \
//!     [--dovecot] [--out DIR]
//! ```
//! Exit status 1: somebody was lost, or memory or descriptors grew after the first round.

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

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use torpor::dovecot::{Options, Owner, Version};

use side::floor::Floor;
use side::scene::{Out, Scene};

/// Storms for hours on thousands of sleepers
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 20_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=50_000))]
    clients: u32,
    #[arg(long, default_value_t = 7_200)]
    secs: u32,
    /// Engine processes, with the built-in worker
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    engines: u32,
    /// Seconds of rest before each storm
    #[arg(long, default_value_t = 600)]
    every: u32,
    /// How many say DONE in a storm
    #[arg(long, default_value_t = 5_000)]
    done: u32,
    /// How many get mail in a storm
    #[arg(long, default_value_t = 5_000)]
    mail: u32,
    #[arg(long, default_value_t = 150.0)]
    logins_per_sec: f64,
    /// Dovecot's workers instead of the built-in one
    #[arg(long)]
    dovecot: bool,
    /// Folder for JSON and report
    #[arg(long)]
    out: Option<PathBuf>,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let floor = Floor::lay(arguments.out.as_deref())?;
    let options =
        Options { users: arguments.clients, owner: Owner::Torpor, ..Options::new(Version::V23) };
    let scene = match arguments.dovecot {
        false => Scene::builtin(&floor.binary, arguments.clients, arguments.engines)?,
        true => Scene::dovecot(&options, &floor.binary)?,
    };
    let Arguments { clients, secs, every, done, mail, logins_per_sec, .. } = arguments;
    let words = format!(
        "soak --clients {clients} --for {secs} --every {every} --done {done} --mail {mail} \
         --logins-per-sec {logins_per_sec} --answer-timeout {ANSWER_WITHIN_SECS}"
    );
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let out =
        Out { json: floor.folder.join("soak.json"), report: Some(floor.folder.join("soak.html")) };
    let played = scene.load(&floor.binary, &words, &out)?;
    let rests = rests(&played, clients, mail);
    println!("{}", table(&rests));
    let faults = faults(&played, &rests);
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// torpor while everybody sleeps, after a round.
struct Rest {
    minutes: f64,
    own_kb: u64,
    descriptors: u64,
}

/// Those moments after so much mail had come at which all sleep and no worker is left.
fn rests(played: &Value, clients: u32, mail: u32) -> Vec<Rest> {
    let points = played["points"].as_array().into_iter().flatten();
    let name = format!("after storm of {mail} mails");
    let ends = points.filter(|point| point["name"] == name);
    let still = ends.filter(|point| point["asleep"] == clients && point["workers"] == 0);
    let rest = |point: &Value| Rest {
        minutes: point["secs"].as_f64().unwrap_or_default() / 60.0,
        own_kb: point["own_kb"].as_u64().unwrap_or_default(),
        descriptors: point["descriptors"].as_u64().unwrap_or_default(),
    };
    still.map(rest).collect()
}

/// What is not as promised, a line each.
fn faults(played: &Value, rests: &[Rest]) -> Vec<String> {
    let mut faults = Vec::new();
    if played["lost"] != 0 {
        faults.push(format!("{} clients were lost", played["lost"]));
    }
    let [first, .., last] = rests else {
        faults.push("fewer than two rounds ended with everybody asleep".to_owned());
        return faults;
    };
    if last.own_kb > first.own_kb + FLAT_KB {
        faults.push(format!("memory grew from {} to {} kB", first.own_kb, last.own_kb));
    }
    if last.descriptors > first.descriptors {
        let (first, last) = (first.descriptors, last.descriptors);
        faults.push(format!("descriptors grew from {first} to {last}"));
    }
    faults
}

fn table(rests: &[Rest]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["all asleep after", "memory of its own", "descriptors"]);
    for rest in rests {
        table.add_row([
            format!("{:.1} min", rest.minutes),
            format!("{} kB", rest.own_kb),
            rest.descriptors.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

const ANSWER_WITHIN_SECS: u32 = 600;
/// The allocator of the front does not give back every page at the same moment.
const FLAT_KB: u64 = 64;
