//! imap-master fails while clients want to wake, on torpor and on stock imap-hibernate.
//!
//! Half of the clients say DONE and half get a mail while imap-master is out of order; then it
//! comes back. Printed is how many each side lost, and how long after the return the others were
//! answered. It needs root and dovecot-imapd.
//!
//! ```text
//! cargo bench -p torpor-suite --bench outage -- [--secs 60] [--clients 100] [--version 2.4]
//! ```
//! Exit status 1: torpor lost somebody, or answered later than 2 s after the return.

mod side {
    pub mod binary;
    pub mod crowd;
    pub mod ground;
    pub mod limits;
    pub mod master;
    pub mod sleeper;
    pub mod torpor;
}

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::{Table, presets};
use torpor::dovecot::{Mailbox, Options, Version, raise_open_files};

use side::binary;
use side::crowd::{Fate, gather, log_in};
use side::ground::{Ground, Side};
use side::limits::Limits;
use side::master::{Fault, Outage};

/// Losses of an imap-master out of order
#[derive(Parser)]
struct Arguments {
    /// Version of Dovecot; 2.4 runs the root that tests/lib/root24 unpacks
    #[arg(long, default_value = "2.3", value_parser = ["2.3", "2.4"])]
    version: String,
    /// How long imap-master is out of order
    #[arg(long, default_value_t = 60)]
    secs: u64,
    /// Clients asleep on each side
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=1000))]
    clients: u32,
    /// Print one JSON object a line instead of the table
    #[arg(long)]
    json: bool,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// What one outage did to one side.
struct Losses {
    fates: Vec<Fate>,
    /// Processes that held sleepers before and are gone afterwards.
    holders_ended: usize,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let binary = binary::release()?;
    raise_open_files();
    let _limits = Limits::raise()?;
    let version = if arguments.version == "2.4" { Version::V24 } else { Version::V23 };
    let options = Options { users: arguments.clients, ..Options::new(version) };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["imap-master", "", "lost", "unanswered", "p50", "last", "ended", ""]);
    let mut kept = true;
    for fault in Fault::ALL {
        eprintln!("{} for {} s", fault.name(), arguments.secs);
        let length = Duration::from_secs(arguments.secs);
        let (stock, torpor) = thread::scope(|scope| {
            let stock = scope.spawn(|| suffer(Side::Stock, fault, length, &options, &binary));
            let torpor = suffer(Side::Torpor, fault, length, &options, &binary);
            (stock.join(), torpor)
        });
        let stock = stock.map_err(|_| "the stock side panicked")??;
        let torpor = torpor?;
        kept &= torpor.are_none();
        for (side, losses) in [(Side::Stock, stock), (Side::Torpor, torpor)] {
            if arguments.json {
                println!("{}", losses.to_json(side, fault));
            }
            table.add_row(losses.row(side, fault));
        }
    }
    if !arguments.json {
        println!("Dovecot {}, {} clients a side", arguments.version, arguments.clients);
        println!("imap-master out of order for {} s, times after its return", arguments.secs);
        println!("{table}");
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn suffer(
    side: Side,
    fault: Fault,
    length: Duration,
    options: &Options,
    binary: &Path,
) -> io::Result<Losses> {
    let ground = Ground::start(side, options, binary)?;
    let mut sleepers = log_in(ground.dovecot.endpoint(false).address, 1, options.users)?;
    ground.wait_asleep()?;
    let holders = ground.holders();
    let outage = Outage::begin(&ground.dovecot.base_dir(), fault)?;
    let middle = sleepers.len() / 2;
    for (number, sleeper) in sleepers.iter_mut().enumerate() {
        if number < middle {
            sleeper.send(b"DONE\r\n")?;
        } else {
            ground.dovecot.mailbox(&sleeper.user).deliver(&Mailbox::message("outage"))?;
        }
    }
    thread::sleep(length);
    outage.end()?;
    let start = Instant::now();
    let fates = gather(&mut sleepers, start, start + ANSWERED_WITHIN, false, |one, line| {
        line.starts_with(&one.done_answer()) || line.starts_with("* 1 EXISTS")
    })?;
    let ended = holders.iter().filter(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    Ok(Losses { fates, holders_ended: ended.count() })
}

impl Losses {
    fn lost(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Lost).count()
    }

    fn silent(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Silent).count()
    }

    /// Seconds after the return, ascending.
    fn times(&self) -> Vec<f64> {
        let answered = |fate: &Fate| match fate {
            Fate::Answered(time) => Some(time.as_secs_f64()),
            Fate::Lost | Fate::Silent => None,
        };
        let mut times: Vec<f64> = self.fates.iter().filter_map(answered).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn p50(&self) -> Option<f64> {
        let times = self.times();
        times.get(times.len() / 2).copied()
    }

    fn last(&self) -> Option<f64> {
        self.times().last().copied()
    }

    /// Nobody lost, everybody answered in time, nothing ended.
    fn are_none(&self) -> bool {
        let in_time = self.last().is_some_and(|last| last <= BACK_WITHIN_SECS);
        self.lost() + self.silent() + self.holders_ended == 0 && in_time
    }

    fn row(&self, side: Side, fault: Fault) -> Vec<String> {
        let seconds =
            |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.2} s"));
        let verdict = match (side, self.are_none()) {
            (Side::Stock, _) => "",
            (Side::Torpor, true) => "ok",
            (Side::Torpor, false) => "MISS",
        };
        vec![
            fault.name().to_owned(),
            format!("{side:?}").to_lowercase(),
            self.lost().to_string(),
            self.silent().to_string(),
            seconds(self.p50()),
            seconds(self.last()),
            self.holders_ended.to_string(),
            verdict.to_owned(),
        ]
    }

    fn to_json(&self, side: Side, fault: Fault) -> serde_json::Value {
        serde_json::json!({
            "fault": fault.name(),
            "side": format!("{side:?}").to_lowercase(),
            "clients": self.fates.len(),
            "lost": self.lost(),
            "unanswered": self.silent(),
            "p50_secs": self.p50(),
            "last_secs": self.last(),
            "holders_ended": self.holders_ended,
        })
    }
}

/// After this a client that waits counts as unanswered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// What torpor promises.
const BACK_WITHIN_SECS: f64 = 2.0;
