//! One run of one side: every figure, on a fresh Dovecot.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use torpor::dovecot::{Mailbox, Options};

use super::answer;
use super::crowd::{Fate, gather, log_in};
use super::figures::{Figure, percentile_ms};
use super::ground::{Ground, Side};
use super::memory::pss_bytes;
use super::sleeper::Sleeper;

/// The figures of one run.
pub type Run = BTreeMap<Figure, f64>;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Clients asleep at once.
    pub clients: u32,
    /// Wakes one at a time, and hibernate requests.
    pub samples: u32,
}

/// A fresh imap process for each wake, as Dovecot is delivered.
///
/// # Errors
/// A side could not be started or served somebody an error.
pub fn fresh(side: Side, options: &Options, size: Size, binary: &Path) -> io::Result<Run> {
    let users = size.clients + 1 + size.samples;
    let ground = Ground::start(side, &Options { users, ..options.clone() }, binary)?;
    let folders = answer::make_folders(&ground.dovecot, size.clients + 2, size.samples)?;
    let address = ground.dovecot.endpoint(false).address;
    // The first client brings the holder to life; what that costs is not a sleeper's cost.
    let _first = log_in(address, size.clients + 1, 1)?;
    ground.wait_asleep()?;
    let empty = pss_bytes(&ground.holders())?;
    let mut sleepers = log_in(address, 1, size.clients)?;
    ground.wait_asleep()?;
    let full = pss_bytes(&ground.holders())?;
    let mut run = Run::new();
    run.insert(Figure::Bytes, full.saturating_sub(empty) as f64 / f64::from(size.clients));
    let answers = answer::measure(&ground.dovecot.base_dir().join("imap-hibernate"), &folders)?;
    put(&mut run, [Figure::AnswerP50, Figure::AnswerP99], &answers);
    let some = size.samples.min(size.clients) as usize;
    put(&mut run, [Figure::DoneP50, Figure::DoneP99], &done(&mut sleepers[..some])?);
    ground.wait_asleep()?;
    put(&mut run, [Figure::MailP50, Figure::MailP99], &mail(&ground, &mut sleepers[..some])?);
    ground.wait_asleep()?;
    let fates = burst(&mut sleepers)?;
    let times: Vec<Duration> = fates.iter().filter_map(answered).collect();
    run.insert(Figure::Lost, (fates.len() - times.len()) as f64);
    run.insert(Figure::Burst, percentile_ms(&times, 1.0));
    Ok(run)
}

/// Imap processes that serve one session after another.
///
/// # Errors
/// As [`fresh`].
pub fn reused(side: Side, options: &Options, size: Size, binary: &Path) -> io::Result<Run> {
    let clients = size.samples.min(size.clients);
    let options = Options {
        users: clients,
        service_count: 1000,
        imap_min_avail: REUSED_WORKERS,
        ..options.clone()
    };
    let ground = Ground::start(side, &options, binary)?;
    let mut sleepers = log_in(ground.dovecot.endpoint(false).address, 1, clients)?;
    ground.wait_asleep()?;
    let mut run = Run::new();
    put(&mut run, [Figure::ReusedDoneP50, Figure::ReusedDoneP99], &done(&mut sleepers)?);
    Ok(run)
}

/// `DONE` by one after the other; each idles again at once, as mail clients do.
fn done(sleepers: &mut [Sleeper]) -> io::Result<Vec<Duration>> {
    let one = |sleeper: &mut Sleeper| {
        let begin = Instant::now();
        sleeper.send(b"DONE\r\n")?;
        sleeper.expect(&sleeper.done_answer())?;
        let time = begin.elapsed();
        sleeper.idle()?;
        Ok(time)
    };
    sleepers.iter_mut().map(one).collect()
}

/// One mail to one after the other.
fn mail(ground: &Ground, sleepers: &mut [Sleeper]) -> io::Result<Vec<Duration>> {
    let text = Mailbox::message("bench");
    let staged: io::Result<Vec<_>> =
        sleepers.iter().map(|sleeper| ground.dovecot.mailbox(&sleeper.user).stage(&text)).collect();
    let one = |(sleeper, staged): (&mut Sleeper, torpor::dovecot::Staged)| {
        let begin = Instant::now();
        staged.release()?;
        sleeper.expect("* 1 EXISTS")?;
        Ok(begin.elapsed())
    };
    sleepers.iter_mut().zip(staged?).map(one).collect()
}

/// `DONE` by all at once.
fn burst(sleepers: &mut [Sleeper]) -> io::Result<Vec<Fate>> {
    let start = Instant::now();
    for sleeper in sleepers.iter_mut() {
        sleeper.send(b"DONE\r\n")?;
    }
    let until = start + BURST_WITHIN;
    gather(sleepers, start, until, true, |one, line| line.starts_with(&one.done_answer()))
}

fn answered(fate: &Fate) -> Option<Duration> {
    match fate {
        Fate::Answered(time) => Some(*time),
        Fate::Lost | Fate::Silent => None,
    }
}

fn put(run: &mut Run, [p50, p99]: [Figure; 2], times: &[Duration]) {
    run.insert(p50, percentile_ms(times, 0.5));
    run.insert(p99, percentile_ms(times, 0.99));
}

/// imap processes kept waiting.
const REUSED_WORKERS: u32 = 8;
const BURST_WITHIN: Duration = Duration::from_secs(120);
