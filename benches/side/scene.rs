//! A server that `torpor load` can be sent to, and the run itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use torpor::dovecot::{Dovecot, Options, Owner};

use super::builtin::Builtin;
use super::torpor::Torpor;

/// What is loaded.
pub enum Scene {
    /// torpor with its built-in worker.
    Builtin(Builtin),
    /// A private Dovecot, with its own imap-hibernate or with torpor, which ends first.
    Dovecot { torpor: Option<Torpor>, dovecot: Dovecot },
}

impl Scene {
    /// # Errors
    /// The server did not start.
    pub fn builtin(binary: &Path, users: u32, engines: u32) -> io::Result<Self> {
        Builtin::start(binary, users, engines).map(Self::Builtin)
    }

    /// Dovecot, with torpor if the options say that torpor is to hold the sleepers.
    ///
    /// # Errors
    /// A server did not start.
    pub fn dovecot(options: &Options, binary: &Path) -> io::Result<Self> {
        let dovecot = Dovecot::start(options)?;
        let torpor = match options.owner {
            Owner::Stock => None,
            Owner::Torpor => Some(Torpor::start(binary, &dovecot.base_dir())?),
        };
        Ok(Self::Dovecot { torpor, dovecot })
    }

    /// Runs `torpor load` with these words against it, and returns what it says as JSON. Its text
    /// goes where ours goes.
    ///
    /// # Errors
    /// It could not run; lost clients are no error.
    pub fn load(&self, binary: &Path, words: &[String], out: &Out) -> io::Result<Value> {
        let mut command = Command::new(binary);
        command.arg("load").args(words).args(self.place());
        command.args(["--user", "u{n:05}"]).arg("--json").arg(&out.json);
        if let Some(report) = &out.report {
            command.arg("--report").arg(report);
        }
        let status = command.stdin(Stdio::null()).status()?;
        if !matches!(status.code(), Some(0 | 1)) {
            return Err(io::Error::other(format!("torpor load: {status}")));
        }
        Ok(serde_json::from_slice(&std::fs::read(&out.json)?)?)
    }

    /// Where it is, and how it is watched.
    fn place(&self) -> Vec<String> {
        let (to, maildir, mut more) = match self {
            Self::Builtin(server) => {
                let socket = server.socket().display().to_string();
                let pid = server.pid().to_string();
                let more =
                    vec!["--watch-pid".to_owned(), pid, "--torpor-socket".to_owned(), socket];
                (server.address, server.maildir(), more)
            }
            Self::Dovecot { torpor, dovecot } => {
                let mut pids: Vec<_> = dovecot.pid().into_iter().collect();
                let mut more = Vec::new();
                if let Some(torpor) = torpor {
                    pids.push(torpor.pid());
                    let socket = dovecot.base_dir().join("torpor.sock").display().to_string();
                    more = vec!["--torpor-socket".to_owned(), socket];
                }
                let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
                more.extend(["--watch-pid".to_owned(), pids.join(",")]);
                let maildir = format!("{}/mail/{{user}}/Maildir", dovecot.dir().display());
                (dovecot.endpoint(false).address, maildir, more)
            }
        };
        more.extend(["--to".to_owned(), to.to_string(), "--maildir".to_owned(), maildir]);
        more
    }
}

/// Where the results go.
pub struct Out {
    pub json: PathBuf,
    pub report: Option<PathBuf>,
}
