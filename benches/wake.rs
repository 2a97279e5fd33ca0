//! torpor beside stock imap-hibernate, on the same private Dovecot.
//!
//! Runs alternate (stock, torpor, stock, ...) so that whatever else the machine does hits both,
//! and the table shows the median of each figure over all runs. It needs root and dovecot-imapd.
//!
//! ```text
//! cargo bench -p torpor-suite --bench wake -- \
//!     [--version 2.4] [--rounds 5] [--clients 1000] [--json]
//! ```
//! Exit status 1: a bound was missed.

mod side {
    pub mod answer;
    pub mod binary;
    pub mod crowd;
    pub mod figures;
    pub mod ground;
    pub mod limits;
    pub mod measure;
    pub mod memory;
    pub mod sleeper;
    pub mod table;
    pub mod torpor;
}

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use torpor::dovecot::{Options, Version, raise_open_files};

use side::figures::Bounds;
use side::ground::Side;
use side::limits::Limits;
use side::measure::{Run, Size, fresh, reused};
use side::{binary, table};

/// torpor beside stock imap-hibernate
#[derive(Parser)]
struct Arguments {
    /// Version of Dovecot; 2.4 runs the root that tests/lib/root24 unpacks
    #[arg(long, default_value = "2.3", value_parser = ["2.3", "2.4"])]
    version: String,
    /// Runs of each side
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Clients asleep at once
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Wakes one at a time, and hibernate requests, in each run
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=2000))]
    samples: u32,
    /// One side alone
    #[arg(long)]
    only: Option<Only>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Stock,
    Torpor,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let binary = binary::release()?;
    raise_open_files();
    let _limits = Limits::raise()?;
    let version = if arguments.version == "2.4" { Version::V24 } else { Version::V23 };
    let bounds = if version == Version::V24 { Bounds::V24 } else { Bounds::V23 };
    let (stock, torpor) = run(&arguments, &Options::new(version), &binary)?;
    let rows = table::rows(&stock, &torpor, bounds);
    if arguments.json {
        let json = table::to_json(&rows, arguments.clients, &stock, &torpor);
        println!("{json:#}");
    } else {
        let (clients, rounds) = (arguments.clients, arguments.rounds);
        println!("Dovecot {}, {clients} clients, medians of {rounds} runs", arguments.version);
        table::print(&rows, clients);
    }
    let missed = rows.iter().any(|row| row.holds() == Some(false));
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run(
    arguments: &Arguments,
    options: &Options,
    binary: &Path,
) -> Result<(Vec<Run>, Vec<Run>), Box<dyn Error>> {
    let size = Size { clients: arguments.clients, samples: arguments.samples };
    let (mut stock, mut torpor) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        for (side, only, runs) in
            [(Side::Stock, Only::Stock, &mut stock), (Side::Torpor, Only::Torpor, &mut torpor)]
        {
            if arguments.only.is_some_and(|one| one != only) {
                continue;
            }
            eprintln!("round {round} of {}: {side:?}", arguments.rounds);
            let mut figures = fresh(side, options, size, binary)?;
            figures.append(&mut reused(side, options, size, binary)?);
            runs.push(figures);
        }
    }
    Ok((stock, torpor))
}
