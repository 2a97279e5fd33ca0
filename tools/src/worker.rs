//! The hidden `torpor worker`: one process of the built-in imap server, spawned by the front.
//!
//! `torpor_worker` says what the options mean and what descriptor 0 is.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use torpor_worker::{Account, Login, Options, run_fresh, run_woken};

#[derive(Debug, Args)]
pub struct WorkerArgs {
    #[arg(long)]
    base_dir: PathBuf,
    #[arg(long, default_value_t = 30_000)]
    hibernate_after_ms: u64,
    #[arg(long, default_value_t = 120)]
    keepalive_secs: u64,
    /// Descriptor 0 is a connection to imap-master
    #[arg(long)]
    woken: bool,
    #[arg(long, required_unless_present = "woken", allow_hyphen_values = true)]
    user: Option<String>,
    #[arg(long, required_unless_present = "woken", allow_hyphen_values = true)]
    home: Option<PathBuf>,
    #[arg(long, required_unless_present = "woken", allow_hyphen_values = true)]
    session: Option<String>,
    #[arg(long, required_unless_present = "woken", allow_hyphen_values = true)]
    tag: Option<String>,
    #[arg(long)]
    created: Option<u64>,
    #[arg(long)]
    lip: Option<IpAddr>,
    #[arg(long)]
    lport: Option<u16>,
    #[arg(long)]
    rip: Option<IpAddr>,
    #[arg(long)]
    rport: Option<u16>,
    #[arg(long, default_value = "", value_parser = decoded)]
    input: Input,
}

/// What the client sent behind its login.
#[derive(Clone, Debug)]
struct Input(Vec<u8>);

fn decoded(text: &str) -> Result<Input, base64::DecodeError> {
    STANDARD.decode(text).map(Input)
}

/// Serves one client.
pub fn run(args: WorkerArgs) -> ExitCode {
    let options = Options {
        base_dir: args.base_dir.clone(),
        hibernate_after: Duration::from_millis(args.hibernate_after_ms),
        keepalive: Duration::from_secs(args.keepalive_secs),
    };
    let outcome = socket().map_err(Into::into).and_then(|socket| match args.woken {
        true => run_woken(socket, options),
        false => run_fresh(socket, options, args.login()),
    });
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torpor worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Descriptor 0 under a number of its own, since 0 stays with the standard input. Both die with
/// the process.
fn socket() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

impl WorkerArgs {
    fn login(self) -> Login {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Login {
            account: Account {
                user: self.user.unwrap_or_default(),
                home: self.home.unwrap_or_default(),
                session: self.session.unwrap_or_default(),
                created: self.created.unwrap_or_else(|| now.map_or(0, |now| now.as_secs())),
                lip: self.lip,
                lport: self.lport,
                rip: self.rip,
                rport: self.rport,
            },
            tag: self.tag.unwrap_or_default(),
            input: self.input.0,
        }
    }
}
