//! `torpor demo`: a server and torpor in a temporary folder, clients that fall asleep and wake, and
//! what it cost. With torpor's own worker, or with `--dovecot` a private Dovecot.

mod memory;
mod report;
mod stage;
mod steps;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use report::Report;
use stage::{DovecotStage, OwnStage, Stage};
use steps::Idler;

/// What `torpor demo` was told.
#[derive(Clone, Copy, Debug)]
pub struct DemoOptions {
    /// Use a private Dovecot.
    pub dovecot: bool,
    /// Mail clients to log in; none: as many as show something.
    pub clients: Option<u32>,
    /// End instead of staying up for the reader's own mail client.
    pub quick: bool,
    pub json: bool,
}

/// Runs the demo. Exit codes: 0 everybody slept and woke, 1 something went wrong.
pub fn run(options: DemoOptions) -> ExitCode {
    match play(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torpor demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(options: DemoOptions) -> io::Result<bool> {
    // Before any thread is started, so that all of them leave the signal to the wait below.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    let clients = options.clients();
    let stage: Box<dyn Stage> = match options.dovecot {
        true => Box::new(DovecotStage::set(clients)?),
        false => Box::new(OwnStage::set(clients)?),
    };
    let mut report = Report { clients, ..Report::default() };
    let clients = perform(stage.as_ref(), &mut report)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    if !options.quick && report.is_fine() {
        println!("{}", stage.invitation());
        signals.wait()?;
        println!();
    }
    let fine = report.is_fine();
    steps::progress("closing down", None).enable_steady_tick(Duration::from_millis(100));
    drop(clients);
    drop(stage);
    Ok(fine)
}

/// All acts in their order. The clients are asleep afterwards, for as long as they are kept.
fn perform(stage: &dyn Stage, report: &mut Report) -> io::Result<Vec<Idler>> {
    let client_end = memory::client_end_bytes()?;
    let mut clients = Vec::new();
    // What torpor needs once, it has after the first of them.
    let (first, all) = (report.clients.div_ceil(10), report.clients);
    steps::log_in(stage, &mut clients, first, report)?;
    let before = steps::fall_asleep(stage, first, report)?;
    steps::log_in(stage, &mut clients, all, report)?;
    let after = steps::fall_asleep(stage, all, report)?;
    let each = after.each_since(before, all - first, client_end);
    (report.asleep_user_bytes, report.asleep_kernel_bytes) = (each.user_bytes, each.kernel_bytes);
    report.kernel_source = memory::source();
    steps::deliver(stage, &mut clients, report)?;
    steps::say_done(stage, &mut clients, report)?;
    steps::count(stage, report)?;
    Ok(clients)
}

impl DemoOptions {
    fn clients(&self) -> u32 {
        self.clients.unwrap_or(if self.dovecot { DOVECOT_CLIENTS } else { OWN_CLIENTS })
    }
}

const OWN_CLIENTS: u32 = 1_000;
/// Fewer: each awake imap process has an inotify instance, and a fresh Linux allows 128 a user.
const DOVECOT_CLIENTS: u32 = 300;
