//! What can be typed.

mod place;

use std::ffi::CStr;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::control;
use crate::demo::{self, DemoOptions};
use crate::doctor::{self, DoctorOptions};
use crate::engine;
use crate::front::hash::Cost;
use crate::front::{self, passwd};
use crate::load::{self, LoadArgs};
use crate::serve::{self, Errand, ServeOptions};
use crate::watcher;
use crate::worker::{self, WorkerArgs};

use place::{PlaceArgs, stop, upgrade};

/// Hibernates idle IMAP connections and gives each back the moment something happens.
#[derive(Debug, Parser)]
#[command(name = "torpor", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Holds hibernated clients: those of a Dovecot, or with --maildir its own
    Serve {
        #[command(flatten)]
        args: ServeArgs,
        #[command(flatten)]
        errand: ErrandArgs,
    },
    /// Lists the clients that are asleep
    Who {
        /// Only this user's
        user: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Says BYE to a user's sleeping clients
    Kick {
        user: String,
        /// Only this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Shows counters, limits and losses
    Stats {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Goes on with this program in the place of the torpor that serves; clients stay
    Upgrade {
        /// Go on with this one
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Says BYE to all clients, and ends the torpor that serves
    Stop {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Says what keeps clients from sleeping, and the lines that mend it
    Doctor(DoctorArgs),
    /// Shows what happens, with servers and clients of its own in a temporary folder
    Demo(DemoArgs),
    /// Makes a line for the users file of `serve --maildir`
    Passwd {
        user: String,
        /// What it costs to check the password, for us and for whoever steals the file
        #[arg(long, value_enum, default_value_t = Cost::Default)]
        cost: Cost,
    },
    /// Loads an IMAP server with idle clients, and shows what they saw
    Load(Box<LoadArgs>),
    #[command(hide = true, name = load::CREW)]
    LoadCrew,
    #[command(hide = true, name = "anvil-pid")]
    AnvilPid { parent: u32 },
    #[command(hide = true, name = engine::SUBCOMMAND)]
    Engine { number: u32 },
    #[command(hide = true, name = watcher::SUBCOMMAND)]
    Watcher { number: u32 },
    #[command(hide = true, name = front::SUBCOMMAND)]
    Front(ServeArgs),
    #[command(hide = true)]
    Worker(WorkerArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file [default: /etc/torpor.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the sockets: Dovecot's base_dir, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    base_dir: Option<PathBuf>,
    /// Serve the mail in DIR/USER without Dovecot
    #[arg(long, value_name = "DIR")]
    maildir: Option<PathBuf>,
    /// Who may log in there: lines that `torpor passwd` makes
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Where mail clients connect to [default: 127.0.0.1:1143]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Listen off loopback although nothing is encrypted
    #[arg(long)]
    insecure_plaintext: bool,
    /// Print the effective configuration and end
    #[arg(long)]
    check: bool,
}

/// What one image of the keeper tells the next.
#[derive(Debug, Args)]
struct ErrandArgs {
    #[arg(long, hide = true, value_name = "FD")]
    rehearse: Option<RawFd>,
    #[arg(long, hide = true, value_name = "FD")]
    resume: Option<RawFd>,
    #[arg(long, hide = true, value_name = "FD")]
    before: Option<RawFd>,
    #[arg(long, hide = true)]
    because: Option<String>,
}

impl From<ServeArgs> for ServeOptions {
    fn from(args: ServeArgs) -> Self {
        let ServeArgs { config, base_dir, maildir, users, listen, insecure_plaintext, check } =
            args;
        Self { config, base_dir, maildir, users, listen, insecure_plaintext, check }
    }
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// torpor's configuration [default: /etc/torpor.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Dovecot's base_dir, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    base_dir: Option<PathBuf>,
    /// Control socket, instead of the configuration's
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Dovecot's configuration, instead of the installed one's
    #[arg(long, value_name = "FILE")]
    dovecot_config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Run with the installed Dovecot instead of the built-in worker
    #[arg(long)]
    dovecot: bool,
    /// Mail clients to log in [default: 1000; with --dovecot 300]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=90_000))]
    clients: Option<u32>,
    /// End when everything has been shown
    #[arg(long)]
    quick: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs what was typed.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { args, errand } => named(c"torpor", || keep(&args.into(), errand)),
        Command::Engine { number } => named(c"torpor-engine", || engine::run(number)),
        Command::Watcher { number } => named(c"torpor-watcher", || watcher::run(number)),
        Command::Front(args) => named(c"torpor-front", || front::run(&args.into())),
        Command::Passwd { user, cost } => print(passwd::line(&user, cost)),
        Command::Who { user, place } => print(control::who(&place.path(), user, place.json)),
        Command::Kick { user, session, place } => {
            let kicked = control::kick(&place.path(), user, session, place.json);
            print(kicked.map(|(_, text)| text))
        }
        Command::Stats { place } => print(control::stats(&place.path(), place.json)),
        Command::Upgrade { binary, place } => upgrade(binary, &place),
        Command::Stop { place } => stop(&place),
        Command::Doctor(args) => examine(args),
        Command::Demo(DemoArgs { dovecot, clients, quick, json }) => {
            demo::run(DemoOptions { dovecot, clients, quick, json })
        }
        Command::Load(args) => load::run(*args),
        Command::LoadCrew => torpor_load::crew::serve(),
        Command::AnvilPid { parent } => named(c"torpor-anvil", || serve::run_helper(parent)),
        Command::Worker(args) => named(c"torpor-worker", || worker::run(args)),
    }
}

/// What was started as /proc/self/exe would be called `exe` by `ps` and `top`.
fn named(name: &CStr, run: impl FnOnce() -> ExitCode) -> ExitCode {
    // Only names of over 15 bytes are cut, and nothing depends on them.
    let _ = nix::sys::prctl::set_name(name);
    run()
}

fn keep(options: &ServeOptions, errand: ErrandArgs) -> ExitCode {
    match errand {
        ErrandArgs { rehearse: Some(number), .. } => serve::rehearse(options, number),
        ErrandArgs { resume: Some(number), because: Some(why), .. } => {
            serve::resume(options, Errand::Back(number, why))
        }
        ErrandArgs { resume: Some(number), before: Some(before), .. } => {
            serve::resume(options, Errand::Forth(number, before))
        }
        _ => serve::run(options),
    }
}

fn examine(args: DoctorArgs) -> ExitCode {
    let DoctorArgs { config, base_dir, socket, dovecot_config, json } = args;
    let options = DoctorOptions { config, base_dir, socket, dovecot_config, json };
    match doctor::run(&options) {
        Ok((text, true)) => print(Ok(text)),
        Ok((text, false)) => {
            print(Ok(text));
            ExitCode::FAILURE
        }
        Err(error) => print(Err(error)),
    }
}

/// Prints what was asked for, or why there is nothing.
fn print(text: io::Result<String>) -> ExitCode {
    // A reader that has seen enough closes the pipe; that is not an error.
    match text.map(|text| io::stdout().write_all(text.as_bytes())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor: {error}");
            ExitCode::FAILURE
        }
    }
}
