//! The acts of the demo, on whatever stage.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::memory::{Weight, process_kernel_kb, pss_kb};
use super::report::{Latency, Report};
use super::stage::{HIBERNATE_SECS, Stage};
use crate::dovecot::{Client, Mailbox, Options};

/// A client and the tag of its running IDLE.
pub type Idler = (Client, String);

/// Logs everybody up to number `last` in, at most as many at once as may be awake.
pub fn log_in(
    stage: &dyn Stage,
    clients: &mut Vec<Idler>,
    last: u32,
    report: &mut Report,
) -> io::Result<()> {
    let first = clients.len() as u32 + 1;
    let bar = progress("clients log in and idle", Some(last + 1 - first));
    let (mut wave, mut measured) = (0, Instant::now());
    for number in first..=last {
        clients.push(Client::asleep(stage.endpoint(), &Options::user(number))?);
        bar.inc(1);
        wave += 1;
        if wave == stage.awake_max() {
            measure(stage, report, &bar);
            wait_asleep(stage, number)?;
            wave = 0;
        } else if measured.elapsed() > MEASURE_EVERY {
            measure(stage, report, &bar);
            measured = Instant::now();
        }
    }
    measure(stage, report, &bar);
    bar.finish_and_clear();
    Ok(())
}

/// Waits until all `clients` sleep, and weighs them together.
pub fn fall_asleep(stage: &dyn Stage, clients: u32, report: &mut Report) -> io::Result<Weight> {
    let bar = progress("clients fall asleep", Some(clients));
    let until = Instant::now() + SLEEP_WITHIN;
    loop {
        report.asleep = stage.counter("asleep")?;
        bar.set_position(report.asleep);
        bar.set_prefix(format!("{} worker processes", stage.worker_pids().len()));
        if report.asleep >= clients.into() || Instant::now() > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_alone(stage);
    bar.finish_and_clear();
    report.workers_left = stage.worker_pids().len() as u64;
    Weight::now(&stage.torpor_pids())
}

/// Mail for every third client, one after the other, so that each wake is timed alone.
pub fn deliver(stage: &dyn Stage, clients: &mut [Idler], report: &mut Report) -> io::Result<()> {
    let bar = progress("mail arrives", Some(clients.len().div_ceil(3) as u32));
    let (mut micros, mut expected) = (Vec::new(), 0);
    for (index, (client, _)) in clients.iter_mut().enumerate().step_by(3) {
        let mailbox = stage.mailbox(&Options::user(index as u32 + 1));
        let staged = mailbox.stage(&Mailbox::message("good morning"))?;
        let start = Instant::now();
        staged.release()?;
        expected += 1;
        let announced = client.expect_that("EXISTS", WAKE_WITHIN, |line| line.ends_with(" EXISTS"));
        if announced.is_ok() {
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
pub fn say_done(stage: &dyn Stage, clients: &mut [Idler], report: &mut Report) -> io::Result<()> {
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

/// Waits until everybody sleeps again and reads torpor's own account.
pub fn count(stage: &dyn Stage, report: &mut Report) -> io::Result<()> {
    let bar = progress("everybody goes back to sleep", None);
    bar.enable_steady_tick(Duration::from_millis(100));
    wait_asleep(stage, report.clients)?;
    bar.finish_and_clear();
    let stats = stage.stats()?;
    let counter = |name: &str| stats.counters.get(name).copied().unwrap_or_default();
    report.hibernated = counter("hibernated");
    report.lost = counter("lost") + counter("given_up") + counter("disconnected");
    report.lost += stats.front.get("workers_broken").copied().unwrap_or_default();
    Ok(())
}

/// A bar with a count, or a spinner; on standard error, and only on a terminal.
pub fn progress(text: &'static str, count: Option<u32>) -> ProgressBar {
    let bar = count.map_or_else(ProgressBar::new_spinner, |count| ProgressBar::new(count.into()));
    let template = if count.is_some() {
        "{msg:<30} {bar:40} {pos}/{len}  {prefix}"
    } else {
        "{spinner} {msg}"
    };
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(text);
    if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        eprintln!("{text} ...");
    }
    bar
}

/// Once as many were woken as may be awake, they go back to sleep first.
fn rest(stage: &dyn Stage, woken: u32, report: &Report) -> io::Result<()> {
    if woken.is_multiple_of(stage.awake_max()) {
        wait_asleep(stage, report.clients)
    } else {
        Ok(())
    }
}

fn wait_asleep(stage: &dyn Stage, count: u32) -> io::Result<()> {
    let until = Instant::now() + SLEEP_WITHIN;
    while stage.counter("asleep")? < count.into() {
        if Instant::now() > until {
            let (asleep, hint) = (stage.counter("asleep")?, stage.hint());
            let text = format!("only {asleep} of {count} clients fell asleep{hint}");
            return Err(io::Error::other(text));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A worker ends a moment after its client has been taken over.
fn wait_alone(stage: &dyn Stage) {
    let until = Instant::now() + END_WITHIN;
    while !stage.worker_pids().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Shows how many are awake, and keeps the measure with the most processes.
fn measure(stage: &dyn Stage, report: &mut Report, bar: &ProgressBar) {
    let pids = stage.worker_pids();
    bar.set_prefix(format!("{} worker processes", pids.len()));
    if pids.len() as u64 > report.workers_most {
        report.workers_most = pids.len() as u64;
        report.awake_kb = pss_kb(&pids);
        report.awake_kernel_kb = process_kernel_kb(&pids);
    }
}

/// Somewhat more than the time that workers wait before they hibernate.
const SLEEP_WITHIN: Duration = Duration::from_secs(HIBERNATE_SECS as u64 + 20);
const WAKE_WITHIN: Duration = Duration::from_secs(10);
const END_WITHIN: Duration = Duration::from_secs(5);
const MEASURE_EVERY: Duration = Duration::from_millis(500);
