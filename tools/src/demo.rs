//! `torpor demo --dovecot`: a private Dovecot and torpor beside it in a temporary folder, a few
//! hundred clients that fall asleep and wake, and what it cost.

mod memory;
mod report;
mod stage;
mod steps;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use report::Report;
use stage::Stage;

/// What `torpor demo` was told.
#[derive(Clone, Copy, Debug)]
pub struct DemoOptions {
    /// Use a private Dovecot.
    pub dovecot: bool,
    /// Mail clients to log in.
    pub clients: u32,
    /// End instead of staying up for the reader's own mail client.
    pub quick: bool,
    pub json: bool,
}

/// Runs the demo. Exit codes: 0 everybody slept and woke, 1 something went wrong.
pub fn run(options: DemoOptions) -> ExitCode {
    if !options.dovecot {
        eprintln!(
            "torpor demo: the built-in worker is not part of this version; \
                   `torpor demo --dovecot` runs with the installed Dovecot"
        );
        return ExitCode::FAILURE;
    }
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
    let mut stage = Stage::set(options.clients)?;
    let mut report = Report { clients: options.clients, ..Report::default() };
    let mut clients = steps::log_in(&stage, &mut report)?;
    steps::fall_asleep(&mut stage, &mut report)?;
    steps::deliver(&stage, &mut clients, &mut report)?;
    steps::say_done(&stage, &mut clients, &mut report)?;
    steps::count(&mut stage, &mut report)?;
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
