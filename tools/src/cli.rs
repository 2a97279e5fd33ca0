//! What can be typed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::serve::{self, ServeOptions};

/// Hibernates idle IMAP connections and gives each back the moment something happens.
#[derive(Debug, Parser)]
#[command(name = "torpor", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Holds the hibernated clients of a Dovecot
    Serve(ServeArgs),
    #[command(hide = true, name = "anvil-pid")]
    AnvilPid { parent: u32 },
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file [default: /etc/torpor.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Dovecot's base_dir, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    base_dir: Option<PathBuf>,
    /// Print the effective configuration and end
    #[arg(long)]
    check: bool,
}

/// Runs what was typed.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(ServeArgs { config, base_dir, check }) => {
            serve::run(&ServeOptions { config, base_dir, check })
        }
        Command::AnvilPid { parent } => serve::run_helper(parent),
    }
}
