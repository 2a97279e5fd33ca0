//! `torpor load`: what can be typed. `setup` makes a plan of a scenario; `throng` is the one that
//! needs no mail server.

pub mod pledge;
pub mod throng;

mod setup;
mod tun;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use torpor_load::run::run as play;
use torpor_load::{Outcome, summary};

use self::tun::TunArgs;

/// The name of the hidden command that becomes a crew.
pub const CREW: &str = "load-crew";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct LoadArgs {
    #[command(subcommand)]
    scenario: Option<LoadCommand>,
    #[command(flatten)]
    tun: TunArgs,
}

#[derive(Debug, Subcommand)]
pub enum LoadCommand {
    /// Everybody logs in, idles, and is held
    Idle {
        /// How long they are held
        #[arg(long = "for", value_name = "SECS", default_value_t = 60.0)]
        secs: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Single clients get mail or say DONE, at a rate
    Trickle {
        #[arg(long = "for", value_name = "SECS", default_value_t = 60.0)]
        secs: f64,
        #[arg(long, value_name = "RATE", default_value_t = 0.0)]
        mails_per_sec: f64,
        #[arg(long, value_name = "RATE", default_value_t = 10.0)]
        dones_per_sec: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Many clients at once say DONE or get mail; with both, one storm after the other
    Storm {
        /// How many say DONE
        #[arg(long, value_name = "N", required_unless_present = "mail")]
        done: Option<u32>,
        /// How many get mail
        #[arg(long, value_name = "N")]
        mail: Option<u32>,
        /// Seconds that a client stays out of IDLE after its answer [default: none]
        #[arg(long, value_name = "SECS")]
        awake: Option<f64>,
        /// How many more clients log in while each storm blows, five a second
        #[arg(long, value_name = "N", default_value_t = 0)]
        #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
        newcomers: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Storms again and again, the first of everybody, with rests between them
    Soak {
        #[arg(long = "for", value_name = "SECS", default_value_t = 7_200.0)]
        secs: f64,
        /// Rest before each storm
        #[arg(long, value_name = "SECS", default_value_t = 600.0)]
        every: f64,
        /// How many say DONE in each storm
        #[arg(long, value_name = "N")]
        done: u32,
        /// How many get mail in each storm
        #[arg(long, value_name = "N")]
        mail: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Clients renew their IDLE every 29, 15 or 5 minutes, some every 10 ms
    Churn {
        #[arg(long = "for", value_name = "SECS", default_value_t = 60.0)]
        secs: f64,
        /// How much faster than in life time passes
        #[arg(long, value_name = "TIMES", default_value_t = 60.0)]
        time_scale: f64,
        /// Clients that idle for 10 ms only, in per cent
        #[arg(long, value_name = "PERCENT", default_value_t = 2)]
        #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
        bursts: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Half of the clients type one byte at a time, half stop reading
    Slow {
        #[arg(long = "for", value_name = "SECS", default_value_t = 30.0)]
        secs: f64,
        /// Pause after each byte
        #[arg(long, value_name = "MS", default_value_t = 50)]
        byte_ms: u64,
        /// How long answers are not read
        #[arg(long, value_name = "SECS", default_value_t = 10.0)]
        closed_window: f64,
        /// Commands sent while answers are not read
        #[arg(long, value_name = "N", default_value_t = 500)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
        flood: u32,
        #[command(flatten)]
        common: Common,
    },
}

/// What every scenario needs.
#[derive(Debug, Args)]
pub struct Common {
    /// The IMAP server
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1143")]
    to: String,
    /// Allow a server that is not on this machine
    #[arg(long)]
    i_run_this_server: bool,
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// Users by number: {n}, or {n:05} for five digits
    #[arg(long, value_name = "TEMPLATE", default_value = "u{n}")]
    user: String,
    #[arg(long, value_name = "TEMPLATE", default_value = "pw")]
    password: String,
    /// Number of the first user
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: u32,
    /// Users from a file of USER:PASSWORD lines instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "password", "first"])]
    users_file: Option<PathBuf>,
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    clients_per_user: u32,
    #[arg(long, default_value = "INBOX")]
    mailbox: String,
    #[arg(long, value_name = "RATE", default_value_t = 200.0)]
    logins_per_sec: f64,
    /// Logins under way at once
    #[arg(long, value_name = "N", default_value_t = 50)]
    logins_at_once: u32,
    #[arg(long, value_name = "SECS", default_value_t = 60.0)]
    login_timeout: f64,
    #[arg(long, value_name = "SECS", default_value_t = 120.0)]
    answer_timeout: f64,
    /// Processes to spread the clients over [default: as many as descriptors ask for]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=250))]
    processes: Option<u32>,
    /// Run this shell command once a third of each storm's answers have come
    #[arg(long, value_name = "COMMAND")]
    midway: Option<String>,
    /// Do not ask everybody for a sign of life at the end
    #[arg(long)]
    no_check: bool,
    /// Deliver into Maildirs; {user} in the path
    #[arg(long, value_name = "DIR/{user}", group = "route")]
    maildir: Option<String>,
    /// Deliver by LMTP to HOST:PORT or to a UNIX socket
    #[arg(long, value_name = "WHERE", group = "route")]
    lmtp: Option<String>,
    #[arg(long, value_name = "TEMPLATE", default_value = "{user}", requires = "lmtp")]
    recipient: String,
    /// Deliver by APPEND, in a session of its own for each mail
    #[arg(long, group = "route")]
    append: bool,
    #[command(flatten)]
    sight: Sight,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// No progress on the terminal
    #[arg(long)]
    quiet: bool,
}

/// How the server is watched from outside.
#[derive(Debug, Args)]
struct Sight {
    /// Count and weigh these processes and all below them
    #[arg(long, value_name = "PID,..", value_delimiter = ',')]
    watch_pid: Vec<i32>,
    /// Count and weigh the processes of these names
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    watch_comm: Vec<String>,
    /// Which names are those of workers, that should go when everybody sleeps
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', default_value = "imap,worker")]
    worker_names: Vec<String>,
    /// torpor's control socket
    #[arg(long, value_name = "PATH")]
    torpor_socket: Option<PathBuf>,
    /// How long everybody may take to fall asleep, where that is seen
    #[arg(long, value_name = "SECS", default_value_t = 120.0)]
    asleep_within: f64,
    /// Pause between two acts, where it is not
    #[arg(long, value_name = "SECS", default_value_t = 3.0)]
    settle: f64,
}

/// Runs a scenario. Exit codes: 0 all were answered, 1 somebody was not, 2 it did not run.
pub fn run(args: LoadArgs) -> ExitCode {
    let fine = match args.scenario {
        Some(command) => run_scenario(command),
        None => tun::run(&args.tun),
    };
    match fine {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torpor load: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_scenario(command: LoadCommand) -> Result<bool, Failure> {
    let (acts, common) = setup::acts(command);
    let (json, report) = (common.json.clone(), common.report.clone());
    let outcome = play(&setup::setup(acts, common)?)?;
    print!("{}", summary::text(&outcome));
    write(&outcome, json, report)?;
    Ok(outcome.is_fine())
}

type Failure = Box<dyn std::error::Error>;

fn write(outcome: &Outcome, json: Option<PathBuf>, report: Option<PathBuf>) -> Result<(), Failure> {
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", summary::to_json(outcome)))?;
    }
    if let Some(path) = report {
        std::fs::write(path, torpor_load::report::html(outcome)?)?;
    }
    Ok(())
}
