//! Thousands of sleepers that all wake at once: torpor's built-in worker, and beside it Dovecot
//! with its own imap-hibernate and with torpor.
//!
//! Everybody logs in and falls asleep; then some say DONE at once, and once all sleep again, some
//! get mail at once. Whoever is answered goes back to IDLE. In the midst of each storm newcomers
//! log in. In the end every client proves by a DONE that it is still served. Stock Dovecot and
//! Dovecot with torpor need root and dovecot-imapd.
//!
//! ```text
//! cargo bench -p torpor-suite --bench storm -- \
//!     [--clients 15000] [--done 5000] [--mail 5000] [--out DIR] \
//!     [--side builtin,stock,raised,torpor] [--awake SECS] [--kill-engine]
//! ```
//! Exit status 1: torpor did not keep what is promised of it.

mod side {
    pub mod binary;
    pub mod builtin;
    pub mod fared;
    pub mod floor;
    pub mod kill;
    pub mod limits;
    pub mod scene;
    pub mod torpor;
}

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use torpor::dovecot::{Options, Owner, Version};

use side::fared::{Fared, Verdict};
use side::floor::Floor;
use side::kill;
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
    /// The same of the raised stock Dovecot
    #[arg(long, default_value_t = 6_000)]
    raised_process_limit: u32,
    /// How many log in while each storm blows
    #[arg(long, default_value_t = 20)]
    newcomers: u32,
    #[arg(long, default_value_t = 150.0)]
    logins_per_sec: f64,
    /// Seconds that an answered client stays out of IDLE
    #[arg(long)]
    awake: Option<f64>,
    /// Kill whoever holds the sleepers once a third of each storm's answers have come
    #[arg(long)]
    kill_engine: bool,
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
    /// The same with a process_limit that no storm reaches
    Raised,
    /// Dovecot and torpor
    Torpor,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Builtin => "built-in worker",
            Which::Stock => "stock Dovecot",
            Which::Raised => "stock, raised limit",
            Which::Torpor => "Dovecot, torpor",
        }
    }

    /// True when it is our promises that it keeps or not.
    fn is_torpor(self) -> bool {
        matches!(self, Which::Builtin | Which::Torpor)
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let floor = Floor::lay(arguments.out.as_deref())?;
    let mut fared = Vec::new();
    for which in &arguments.side {
        eprintln!("== {}", which.name());
        fared.push((*which, play(*which, &arguments, &floor)?));
    }
    println!("{}", table(&fared));
    let raised = fared.iter().find(|(which, _)| *which == Which::Raised).map(|(_, fared)| fared);
    let mut fine = true;
    for (which, fared) in fared.iter().filter(|(which, _)| which.is_torpor()) {
        println!("\n{}", which.name());
        for Verdict { promise, found, kept } in fared.verdicts(raised) {
            println!("{promise:60} {found:>12} {}", if kept { "ok" } else { "MISS" });
            fine &= kept;
        }
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(
    which: Which,
    arguments: &Arguments,
    Floor { binary, folder, .. }: &Floor,
) -> Result<Fared, Box<dyn Error>> {
    let version = if arguments.version == "2.4" { Version::V24 } else { Version::V23 };
    let Arguments { clients, done, mail, newcomers, awake, kill_engine, .. } = arguments;
    let users = clients + STORMS_MAX * newcomers;
    let options = Options {
        users,
        imap_process_limit: match which {
            Which::Raised => arguments.raised_process_limit,
            _ => arguments.imap_process_limit,
        },
        owner: if which.is_torpor() { Owner::Torpor } else { Owner::Stock },
        ..Options::new(version)
    };
    let scene = match which {
        Which::Builtin => Scene::builtin(binary, users, 1)?,
        Which::Stock | Which::Raised | Which::Torpor => Scene::dovecot(&options, binary)?,
    };
    let per_sec = arguments.logins_per_sec;
    let mut words = format!("storm --clients {clients} --logins-per-sec {per_sec}");
    words += &format!(" --newcomers {newcomers}");
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
    let mut words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    if *kill_engine {
        words.extend(["--midway".to_owned(), kill::holders(&scene)]);
    }
    let name = format!("{which:?}").to_lowercase();
    let file = |end: &str| folder.join(format!("storm-{name}.{end}"));
    let out = Out { json: file("json"), report: Some(file("html")) };
    Ok(Fared::read(&scene.load(binary, &words, &out)?, *kill_engine))
}

fn table(fared: &[(Which, Fared)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([""].into_iter().chain(fared.iter().map(|(which, _)| which.name())));
    let columns: Vec<_> = fared.iter().map(|(_, fared)| fared.rows()).collect();
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
/// One of DONEs, one of mails.
const STORMS_MAX: u32 = 2;
