//! Letting go of sleepers' watches: what it costs the thread that everybody else waits for.
//!
//! Sleepers that watch a mailbox each are cut off all at once. Of torpor the CPU of the engine
//! thread is shown, beside that for as many sleepers without a mailbox; the difference is what the
//! watches cost it. Stock imap-hibernate has one thread, which waits in the kernel while it closes
//! an inotify instance, so of it the time that passes is shown, per process, as well.
//!
//! ```text
//! cargo bench -p torpor-suite --bench letgo -- [--clients 10000] [--stock 500] [--json FILE]
//! ```
//! Exit status 1: a watch costs the engine thread 10 µs or more.

mod side {
    pub mod answered;
    pub mod binary;
    pub mod limits;
}

use std::error::Error;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use torpor::dovecot::{Dovecot, Options, Owner, Version, raise_open_files};
use torpor::load::pledge::{Pledge, Terms};
use torpor_load::peer::Peers;
use torpor_load::stand_in::maildirs::{Copies, Maildirs};
use torpor_load::stand_in::worker::Worker;

use side::binary;
use side::limits::Limits;

/// What letting go of watches costs
#[derive(Parser)]
struct Arguments {
    /// Sleepers of torpor, with a mailbox and without
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=50_000))]
    clients: u32,
    /// Sleepers of stock imap-hibernate
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=9000))]
    stock: u32,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Per sleeper, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_us: f64,
    passed_us: f64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    raise_open_files();
    let _limits = Limits::raise()?;
    let [blind, watching] = torpor(arguments.clients)?;
    let stock = stock(arguments.stock)?;
    let watch_us = watching.cpu_us - blind.cpu_us;
    let fine = watch_us < WATCH_US_MAX;
    println!("{} of torpor, {} of stock\n", arguments.clients, arguments.stock);
    println!("a sleeper cut off, µs                    CPU   passed");
    for (name, cost) in [
        ("torpor's engine thread, no mailbox", blind),
        ("torpor's engine thread, watching", watching),
        ("stock imap-hibernate, watching", stock),
    ] {
        println!("{name:36} {:8.1} {:8.1}", cost.cpu_us, cost.passed_us);
    }
    let verdict = if fine { "ok" } else { "MISS" };
    println!("\nletting go of a watch: {watch_us:.1} µs (below {WATCH_US_MAX}) {verdict}");
    println!("the same in stock: {:.1} ms", stock.passed_us / 1000.0);
    if let Some(path) = arguments.json {
        let rows = [("blind", blind), ("watching", watching), ("stock", stock)];
        let rows = rows.map(|(name, cost)| {
            json!({ "name": name, "cpu_us": cost.cpu_us, "passed_us": cost.passed_us })
        });
        std::fs::write(path, format!("{:#}\n", json!({ "watch_us": watch_us, "rows": rows })))?;
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Without a mailbox, and with.
fn torpor(clients: u32) -> Result<[Cost; 2], Box<dyn Error>> {
    let terms = Terms::new("doze_secs = 0\n", clients, 0)?;
    let mut pledge = Pledge::start(&binary::release()?, &terms)?;
    let peers = Peers::start(2 * clients)?;
    let mut maildirs = Maildirs::new(pledge.base_dir().join("mail"));
    maildirs.make(clients)?;
    let threads: Vec<PathBuf> = pledge.family().into_iter().flat_map(tasks).collect();
    // The main thread of its process, which comes first, has the same name.
    let is_engine = |task: &PathBuf| comm(task) == "torpor-engine";
    let engine = threads.into_iter().rfind(is_engine).ok_or("there is no engine thread")?;
    let control = pledge.base_dir().join("torpor.sock");
    let mut costs = [None; 2];
    for (cost, watching) in costs.iter_mut().zip([None, Some(&mut maildirs)]) {
        let who = hold(&mut pledge.worker, &peers, clients, watching)?;
        assert_eq!(side::answered::asleep(&control)?, u64::from(clients), "all sleep");
        let gone = || Ok(side::answered::asleep(&control)? == 0);
        *cost = Some(cut_off(&peers, who, &engine, gone)?);
    }
    Ok(costs.map(|cost| cost.expect("both were measured")))
}

fn stock(clients: u32) -> Result<Cost, Box<dyn Error>> {
    let (users, owner, imap_process_limit) = (1, Owner::Stock, 101);
    let hibernate_timeout_secs = 1;
    let options = Options {
        users,
        owner,
        hibernate_timeout_secs,
        imap_process_limit,
        ..Options::new(Version::V23)
    };
    let dovecot = Dovecot::start(&options)?;
    let peers = Peers::start(clients + 1)?;
    let mut worker = Worker::new(dovecot.base_dir().join("imap-hibernate"), 0);
    let mut maildirs = Maildirs::new(dovecot.dir().join("mail"));
    maildirs.make(clients + 1)?;
    // The first one starts the process, and stays.
    hold(&mut worker, &peers, 1, Some(&mut maildirs))?;
    let master = dovecot.pid().unwrap_or_default();
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    let mut all = children.split(' ').map(|pid| PathBuf::from(format!("/proc/{pid}")));
    let process = all.find(|process| comm(process) == "imap-hibernate");
    let process = process.ok_or("there is no imap-hibernate")?;
    let descriptors = || std::fs::read_dir(process.join("fd")).map(Iterator::count);
    let before = descriptors()?;
    let who = hold(&mut worker, &peers, clients, Some(&mut maildirs))?;
    cut_off(&peers, who, &process, || Ok(descriptors()? <= before))
}

/// Puts so many to sleep; their numbers.
fn hold(
    worker: &mut Worker,
    peers: &Peers,
    count: u32,
    mut watching: Option<&mut Maildirs>,
) -> Result<Vec<u32>, Box<dyn Error>> {
    let (mut who, mut copies) = (Vec::new(), Copies::default());
    watching.as_ref().map_or(Ok(()), |maildirs| maildirs.look())?;
    peers.accept(count, |peer, stream| {
        who.push(peer);
        let notify = watching.as_mut().map(|maildirs| maildirs.watch()).transpose()?;
        worker.hibernate(stream.as_fd(), notify.as_ref().map(AsFd::as_fd))?;
        notify.into_iter().for_each(|notify| copies.keep(notify));
        Ok::<(), std::io::Error>(())
    })?;
    copies.close();
    thread::sleep(SETTLE);
    Ok(who)
}

/// Cuts them off, and waits until nobody is left.
fn cut_off(
    peers: &Peers,
    who: Vec<u32>,
    task: &Path,
    gone: impl Fn() -> Result<bool, Box<dyn Error>>,
) -> Result<Cost, Box<dyn Error>> {
    let count = who.len() as f64;
    let (begin, cpu_us) = (Instant::now(), cpu_us(task)?);
    peers.crowd.reset(who)?;
    while !gone()? {
        if begin.elapsed() > GONE_WITHIN {
            return Err("somebody is still there".into());
        }
        thread::sleep(LOOK);
    }
    let passed_us = begin.elapsed().as_secs_f64() * 1e6;
    // What was left over for a moment without work is theirs, too.
    thread::sleep(SETTLE);
    Ok(Cost { cpu_us: (self::cpu_us(task)? - cpu_us) / count, passed_us: passed_us / count })
}

fn tasks(pid: i32) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path()).collect()
}

fn comm(task: &Path) -> String {
    std::fs::read_to_string(task.join("comm")).unwrap_or_default().trim_end().to_owned()
}

/// Time on a processor.
fn cpu_us(task: &Path) -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string(task.join("schedstat"))?;
    let first = text.split(' ').next().ok_or("an empty schedstat")?;
    Ok(first.parse::<f64>()? / 1000.0)
}

/// What was promised.
const WATCH_US_MAX: f64 = 10.0;
const LOOK: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_millis(1500);
const GONE_WITHIN: Duration = Duration::from_secs(300);
