//! What a sleeper costs: user memory of all torpor processes, kernel memory by slab pages.
//!
//! Real torpor processes hold synthetic sleepers that were handed over as an imap worker of
//! Dovecot 2.4.1 does it, everything in their lines distinct and random. It needs root (slabs).
//!
//! ```text
//! cargo bench -p torpor-suite --bench density -- \
//!     [--clients 15000] [--mailboxes 3000] [--transport tcp] [--json]
//! ```
//! Exit status 1: a bound was missed.

mod side {
    pub mod binary;
    pub mod letter;
    pub mod limits;
    pub mod memory;
    pub mod pledge;
    pub mod slabs;
    pub mod words;
}

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, ValueEnum, value_parser};
use comfy_table::{CellAlignment, Table, presets};
use torpor::dovecot::raise_open_files;

use side::limits::Limits;
use side::pledge::{Pair, Pledge};
use side::{memory, slabs, words};

/// bytes of a sleeping client
#[derive(Parser)]
struct Arguments {
    /// Clients asleep at once; the hard limit of open files bounds them
    #[arg(long, default_value_t = 15_000, value_parser = value_parser!(u32).range(1..=18_000))]
    clients: u32,
    /// Clients that watch a mailbox of their own, for the row of the watches
    #[arg(long, default_value_t = 3000, value_parser = value_parser!(u32).range(0..=18_000))]
    mailboxes: u32,
    /// What the clients' sockets are
    #[arg(long, value_enum, default_value = "unix")]
    transport: Transport,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    Tcp,
    Unix,
}

/// One line of the table: bytes of one sleeper, and how many there may be.
struct Row {
    name: &'static str,
    bytes: f64,
    bound: Option<f64>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    raise_open_files();
    let _limits = Limits::raise()?;
    let mut rows = sleepers(&arguments)?;
    if arguments.mailboxes > 0 {
        rows.push(watches(&arguments)?);
    }
    for (name, bytes) in words::compare()? {
        rows.push(Row { name, bytes, bound: None });
    }
    print(&arguments, &rows);
    let missed = rows.iter().any(|row| row.bound.is_some_and(|bound| row.bytes > bound));
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// User and kernel memory of sleepers that watch no mailbox.
fn sleepers(arguments: &Arguments) -> Result<Vec<Row>, Box<dyn Error>> {
    let count = f64::from(arguments.clients);
    let bare = bare(arguments.transport)?;
    let pledge = Pledge::start(arguments.clients)?;
    let _first = pledge.hibernate(arguments.transport, 1, false)?;
    let (empty, before) = (memory::pss_bytes(&pledge.family())?, slabs::bytes()?);
    let held = pledge.hibernate(arguments.transport, arguments.clients - 1, false)?;
    let (full, after) = (memory::pss_bytes(&pledge.family())?, slabs::bytes()?);
    eprintln!("{} sleepers held", held.len() + 1);
    let pair = slabs::total(&before, &after) as f64 / count;
    for (name, bytes) in slabs::largest(&before, &after) {
        eprintln!("   {name:24} {:8.1} B", bytes as f64 / count);
    }
    let user = (full.saturating_sub(empty)) as f64 / count;
    Ok(vec![
        Row { name: "user memory of a sleeper", bytes: user, bound: Some(USER_BYTES_MAX) },
        Row { name: "kernel: a pair of bare sockets", bytes: bare, bound: None },
        Row { name: "kernel: asleep, on top of that", bytes: pair - bare, bound: None },
    ])
}

/// Two ends of a connection that nobody waits for.
fn bare(transport: Transport) -> Result<f64, Box<dyn Error>> {
    let before = slabs::bytes()?;
    let pairs: std::io::Result<Vec<Pair>> = (0..BARE_PAIRS).map(|_| Pair::new(transport)).collect();
    let pairs = pairs?;
    let bytes = slabs::total(&before, &slabs::bytes()?) as f64 / f64::from(BARE_PAIRS);
    drop(pairs);
    Ok(bytes)
}

/// What watching a mailbox of one's own adds to a sleeper's user memory.
fn watches(arguments: &Arguments) -> Result<Row, Box<dyn Error>> {
    let user = |watching: bool| -> Result<f64, Box<dyn Error>> {
        let pledge = Pledge::start(arguments.mailboxes)?;
        let _first = pledge.hibernate(arguments.transport, 1, watching)?;
        let empty = memory::pss_bytes(&pledge.family())?;
        let _held = pledge.hibernate(arguments.transport, arguments.mailboxes - 1, watching)?;
        let full = memory::pss_bytes(&pledge.family())?;
        Ok(full.saturating_sub(empty) as f64 / f64::from(arguments.mailboxes))
    };
    let bytes = user(true)? - user(false)?;
    Ok(Row { name: "user memory of a watched mailbox", bytes, bound: Some(WATCH_BYTES_MAX) })
}

fn print(arguments: &Arguments, rows: &[Row]) {
    if arguments.json {
        let json = |row: &Row| {
            let Row { name, bytes, bound } = row;
            serde_json::json!({ "name": name, "bytes": bytes, "at_most": bound })
        };
        let rows: Vec<_> = rows.iter().map(json).collect();
        println!("{:#}", serde_json::json!({ "clients": arguments.clients, "rows": rows }));
        return;
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "bytes", "at most", ""]);
    for row in rows {
        let bound = row.bound.map_or(String::new(), |bound| format!("{bound:.0}"));
        let verdict = row.bound.map_or("", |bound| if row.bytes > bound { "MISS" } else { "ok" });
        table.add_row([row.name, &format!("{:.1}", row.bytes), &bound, verdict]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{} sleepers\n{table}", arguments.clients);
}

/// 64 of the record and 160 of the words.
const USER_BYTES_MAX: f64 = 224.0;
const WATCH_BYTES_MAX: f64 = 48.0;
const BARE_PAIRS: u32 = 4000;
