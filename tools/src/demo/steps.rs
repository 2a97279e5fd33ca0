//! The acts of the demo.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::memory::pss_kb;
use super::report::{Latency, Report};
use super::stage::{HIBERNATE_SECS, Stage};
use crate::dovecot::{Client, Mailbox, Options};

/// A client and the tag of its running IDLE.
pub type Idler = (Client, String);

/// Logs everybody in, at most as many at once as inotify allows to be awake.
pub fn log_in(stage: &Stage, report: &mut Report) -> io::Result<Vec<Idler>> {
    report.torpor_empty_kb = pss_kb(&[stage.torpor.pid()]);
    let bar = progress("clients log in and idle", Some(report.clients));
    let mut clients = Vec::new();
    let (mut wave, mut measured) = (0, Instant::now());
    for number in 1..=report.clients {
        clients.push(Client::asleep(stage.dovecot.endpoint(false), &Options::user(number))?);
        bar.inc(1);
        wave += 1;
        if wave == stage.awake_max {
            measure(stage, report);
            wait_asleep(stage, number)?;
            wave = 0;
        } else if measured.elapsed() > MEASURE_EVERY {
            measure(stage, report);
            measured = Instant::now();
        }
    }
    measure(stage, report);
    bar.finish_and_clear();
    Ok(clients)
}

/// Waits until the last of them sleeps.
pub fn fall_asleep(stage: &mut Stage, report: &mut Report) -> io::Result<()> {
    let bar = progress("clients fall asleep", Some(report.clients));
    let until = Instant::now() + SLEEP_WITHIN;
    loop {
        report.asleep = stage.counter("asleep")?;
        bar.set_position(report.asleep);
        if report.asleep >= report.clients.into() || Instant::now() > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bar.finish_and_clear();
    let left = stage.dovecot.imap_pids();
    report.imap_processes_left = left.len() as u64;
    report.torpor_full_kb = pss_kb(&[stage.torpor.pid()]);
    Ok(())
}

/// Mail for every third client, one after the other, so that each wake is timed alone.
pub fn deliver(stage: &Stage, clients: &mut [Idler], report: &mut Report) -> io::Result<()> {
    let bar = progress("mail arrives", Some(clients.len().div_ceil(3) as u32));
    let (mut micros, mut expected) = (Vec::new(), 0);
    for (index, (client, _)) in clients.iter_mut().enumerate().step_by(3) {
        let mailbox = stage.dovecot.mailbox(&Options::user(index as u32 + 1));
        let staged = mailbox.stage(&Mailbox::message("good morning"))?;
        let start = Instant::now();
        staged.release()?;
        expected += 1;
        if client.expect("* 1 EXISTS", WAKE_WITHIN).is_ok() {
            micros.push(start.elapsed().as_micros() as u64);
        }
        bar.inc(1);
        rest(stage, expected, report)?;
    }
    report.mail = Latency::new(micros, expected);
    bar.finish_and_clear();
    Ok(())
}

/// DONE from every third of the others; then they idle again.
pub fn say_done(stage: &Stage, clients: &mut [Idler], report: &mut Report) -> io::Result<()> {
    let bar = progress("clients say DONE", Some(clients.len().div_ceil(3) as u32));
    let (mut micros, mut expected) = (Vec::new(), 0);
    for (client, tag) in clients.iter_mut().skip(1).step_by(3) {
        expected += 1;
        let start = Instant::now();
        if client.done(tag).is_ok() {
            micros.push(start.elapsed().as_micros() as u64);
            *tag = client.idle()?;
        }
        bar.inc(1);
        rest(stage, expected, report)?;
    }
    report.done = Latency::new(micros, expected);
    bar.finish_and_clear();
    Ok(())
}

/// Waits until everybody sleeps again and reads the engine's own account.
pub fn count(stage: &mut Stage, report: &mut Report) -> io::Result<()> {
    let bar = progress("everybody goes back to sleep", None);
    bar.enable_steady_tick(Duration::from_millis(100));
    wait_asleep(stage, report.clients)?;
    bar.finish_and_clear();
    report.hibernated = stage.counter("hibernated")?;
    report.lost = stage.counter("lost")? + stage.counter("given_up")?;
    report.lost += stage.counter("disconnected")?;
    Ok(())
}

/// A bar with a count, or a spinner; on standard error, and only on a terminal.
pub fn progress(text: &'static str, count: Option<u32>) -> ProgressBar {
    let bar = count.map_or_else(ProgressBar::new_spinner, |count| ProgressBar::new(count.into()));
    let template =
        if count.is_some() { "{msg:<30} {bar:40} {pos}/{len}" } else { "{spinner} {msg}" };
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(text);
    if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        eprintln!("{text} ...");
    }
    bar
}

/// Once as many were woken as may be awake, they go back to sleep first.
fn rest(stage: &Stage, woken: u32, report: &Report) -> io::Result<()> {
    if woken.is_multiple_of(stage.awake_max) { wait_asleep(stage, report.clients) } else { Ok(()) }
}

fn wait_asleep(stage: &Stage, count: u32) -> io::Result<()> {
    let until = Instant::now() + SLEEP_WITHIN;
    while stage.counter("asleep")? < count.into() {
        if Instant::now() > until {
            let asleep = stage.counter("asleep")?;
            let short = stage.dovecot.log().contains("Inotify instance limit");
            let hint = if short { INOTIFY_HINT } else { "" };
            let text = format!("only {asleep} of {count} clients fell asleep{hint}");
            return Err(io::Error::other(text));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Keeps the measure with the most processes.
fn measure(stage: &Stage, report: &mut Report) {
    let pids = stage.dovecot.imap_pids();
    if pids.len() as u64 > report.awake_processes {
        report.awake_processes = pids.len() as u64;
        report.awake_kb = pss_kb(&pids);
    }
}

/// Somewhat more than the time that Dovecot waits before it hibernates.
const SLEEP_WITHIN: Duration = Duration::from_secs(HIBERNATE_SECS as u64 + 20);
const INOTIFY_HINT: &str = ": Dovecot had no inotify instance left for them; type \
                            sysctl fs.inotify.max_user_instances=8192";
const WAKE_WITHIN: Duration = Duration::from_secs(10);
const MEASURE_EVERY: Duration = Duration::from_millis(500);
