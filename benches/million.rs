//! A million sleepers on 10,000 mailboxes, held for ten minutes with a keepalive every two; then
//! 10,000 of them, by chance, wake.
//!
//! The clients are peers without sockets on a TUN device, so that what the machine has more in use
//! is the server's, kernel and all. `--mailboxes N` gives everybody one of N, and `--config` takes
//! lines of configuration, such as `[watch]` with `fanotify_dirs` for as many as there are clients.
//!
//! ```text
//! cargo bench -p torpor-suite --bench million -- [--clients 1000000] [--config LINES]
//! ```
//! Needs root and 8 GB. Exit status 1: a bound was missed.

mod side {
    pub mod binary;
    pub mod limits;
}

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use torpor::dovecot::raise_open_files;
use torpor::load::pledge::Terms;
use torpor::load::throng::Throng;

use side::binary;
use side::limits::Limits;

/// A million sleepers
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=4_000_000))]
    clients: u32,
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    mailboxes: u32,
    /// Seconds that everybody is held
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    hold: u32,
    /// Seconds between a client's keepalives
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=3600))]
    keepalive_secs: u32,
    /// How many wake
    #[arg(long, default_value_t = 10_000)]
    wakes: u32,
    /// Lines of torpor's `[sleep]`
    #[arg(long, default_value = "doze_secs = 0")]
    config: String,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    raise_open_files();
    let _limits = Limits::raise()?;
    let config = Terms::new(&arguments.config, 0, 0)?.config;
    let bytes_max = if config.sleep.dense { DENSE_BYTES_MAX } else { ASLEEP_BYTES_MAX };
    let throng = Throng {
        clients: arguments.clients,
        mailboxes: arguments.mailboxes.min(arguments.clients),
        hold_secs: arguments.hold,
        keepalive_secs: arguments.keepalive_secs,
        wakes: arguments.wakes.min(arguments.clients),
        config,
        bytes_max: Some(bytes_max),
        cpu_percent_max: Some(CPU_PERCENT_MAX),
    };
    let mut fine = true;
    for figure in throng.play(&binary::release()?, |what| eprintln!("{what}"))? {
        let verdict = match figure.most {
            Some(_) if figure.is_kept() => "ok",
            Some(_) => "MISS",
            None => "",
        };
        println!("{:44} {:12.1} {verdict}", figure.name, figure.value);
        fine &= figure.is_kept();
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// 4.7 GB for a million.
const ASLEEP_BYTES_MAX: f64 = 4700.0;
const DENSE_BYTES_MAX: f64 = 4500.0;
const CPU_PERCENT_MAX: f64 = 8.0;
