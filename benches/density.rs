//! What a sleeping client costs, beside what else could hold it: kernel memory by slab pages, user
//! memory of all processes that hold it, page tables and kernel stacks, and descriptors.
//!
//! The clients are peers without sockets on a TUN device, so that the kernel memory is the
//! server's alone; torpor gets them as from an imap worker of Dovecot 2.4.1, everything in their
//! lines distinct and random. Each row is weighed by a process of its own. It needs root (slabs,
//! TUN), and dovecot-imapd for the rows of stock. The machine should be fresh and do nothing else.
//!
//! ```text
//! cargo bench -p torpor-suite --bench density -- \
//!     [--rows bare,sleep,..] [--clients 15000] [--mailboxes 3000] [--json FILE] [--plot FILE.svg]
//! ```
//! Exit status 1: a bound was missed.

mod side {
    pub mod beside;
    pub mod binary;
    pub mod held;
    pub mod limits;
    pub mod memory;
    pub mod pledged;
    pub mod rows;
    pub mod scale;
    pub mod sheet;
    pub mod slabs;
    pub mod words;
}

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};
use serde_json::Value;
use torpor::dovecot::raise_open_files;

use side::limits::Limits;
use side::rows::{Row, Sizes};
use side::scale::Weight;
use side::sheet::{self, Line};
use side::words;

/// bytes of a sleeping client
#[derive(Parser)]
struct Arguments {
    /// Who is weighed
    #[arg(long, value_enum, value_delimiter = ',')]
    #[arg(default_values_t = Row::value_variants().to_vec())]
    rows: Vec<Row>,
    #[command(flatten)]
    sizes: Sizes,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Weigh this one here, and print its weight as JSON
    #[arg(long, value_enum, hide = true)]
    one: Option<Row>,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    raise_open_files();
    if let Some(row) = arguments.one {
        println!(
            "{}",
            match row.weigh(&arguments.sizes)? {
                Ok(weight) => weight.to_json(),
                Err(why) => Value::String(why),
            }
        );
        return Ok(ExitCode::SUCCESS);
    }
    side::binary::release()?;
    let _limits = Limits::raise()?;
    let mut lines = Vec::new();
    for row in &arguments.rows {
        eprintln!("== {}", row.title());
        lines.push(Line { row: *row, weight: weigh(*row)? });
    }
    let words = words::compare()?;
    println!("{}\n\n{}", sheet::machine(), sheet::text(&lines));
    for (name, bytes) in &words {
        println!("{name}: {bytes:.1}");
    }
    if let Some(path) = arguments.json {
        let command: Vec<String> = std::env::args().skip(1).collect();
        let value = sheet::to_json(&lines, &words, &command.join(" "));
        std::fs::write(path, format!("{value:#}\n"))?;
    }
    if let Some(path) = arguments.plot {
        sheet::plot(&lines, &path)?;
    }
    let missed = lines.iter().any(Line::misses);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A row, weighed by a process that holds nothing of the rows before.
fn weigh(row: Row) -> Result<Result<Weight, String>, Box<dyn Error>> {
    let name = row.to_possible_value().ok_or("every row has a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).args(["--one", name.get_name()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", row.title(), output.status).into());
    }
    match serde_json::from_slice(&output.stdout)? {
        Value::String(why) => Ok(Err(why)),
        value => Ok(Ok(Weight::from_json(&value).ok_or("a weight without figures")?)),
    }
}
