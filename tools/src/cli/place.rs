//! Where the torpor is that a command is for, and what its keeper is asked for.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::config::{self, BASE_DIR, control_path, keeper_path};
use crate::serve::{self, Question, Verdict};

/// Where the running torpor is, and how to print.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Control socket [default: torpor.sock in the base_dir]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Its base_dir
    #[arg(long, value_name = "DIR", default_value = BASE_DIR)]
    base_dir: PathBuf,
    /// The folder that it serves without Dovecot
    #[arg(long, value_name = "DIR", conflicts_with = "base_dir")]
    maildir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl PlaceArgs {
    fn base_dir(&self) -> PathBuf {
        let own = self.maildir.as_deref().map(config::Front::base_dir_of);
        own.unwrap_or_else(|| self.base_dir.clone())
    }

    pub fn path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| control_path(&self.base_dir()))
    }

    /// Asks the keeper there.
    fn ask(&self, question: &Question) -> io::Result<Verdict> {
        serve::ask(&keeper_path(&self.path()), question)
    }
}

/// Asks the keeper to go on as a program: this one, or that at a path.
pub fn upgrade(binary: Option<PathBuf>, place: &PlaceArgs) -> ExitCode {
    let binary = binary.map_or_else(std::env::current_exe, Ok);
    let binary = binary.and_then(std::path::absolute);
    let asked = binary.and_then(|binary| place.ask(&Question::Upgrade(binary)));
    end_with(asked, place.json)
}

/// Asks the keeper to end, or ends what a killed one has left.
pub fn stop(place: &PlaceArgs) -> ExitCode {
    let asked = place.ask(&Question::Stop).or_else(|error| match error.kind() {
        // Its keeper may have been killed.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let base_dir = std::path::absolute(place.base_dir())?;
            serve::end_left(&base_dir)?.ok_or(error)
        }
        _ => Err(error),
    });
    end_with(asked, place.json)
}

/// Prints how it has ended.
fn end_with(asked: io::Result<Verdict>, json: bool) -> ExitCode {
    match asked {
        Ok(verdict) if json => {
            let line = serde_json::to_string(&verdict).map_err(io::Error::other);
            let printed = print(line.map(|line| line + "\n"));
            if verdict.is_good() { printed } else { ExitCode::FAILURE }
        }
        Ok(verdict) if verdict.is_good() => print(Ok(verdict.text().to_owned() + "\n")),
        Ok(verdict) => print(Err(io::Error::other(verdict.text().to_owned()))),
        Err(error) => print(Err(error)),
    }
}
