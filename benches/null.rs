//! What a hibernate, a wake and a keepalive cost torpor itself: the worker does nothing but speak
//! the whole imap-master conversation, and the clients are peers without sockets on a TUN device.
//!
//! CPU is that of all threads of all torpor processes (schedstat). Two delays of a wake: what
//! torpor has counted itself, from the step that begins with the client's completion to the
//! descriptor's sendmsg, less the waits for connect and VERSION; and what is seen of it from
//! outside, from the moment the client is told to speak to the worker's accept, and from the
//! worker's VERSION to the descriptor. Keepalives are measured on sleepers of their own, so that
//! none counts as part of a hibernate or wake.
//!
//! ```text
//! cargo bench -p torpor-suite --bench null -- \
//!     [--clients 15000] [--rounds 5] [--wakes-per-sec 1000] [--json FILE]
//! ```
//! Needs root. Exit status 1: a bound was missed.

mod side {
    pub mod binary;
}

use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use serde_json::json;
use torpor::config::control_path;
use torpor::control;
use torpor::dovecot::raise_open_files;
use torpor::load::pledge::{Pledge, Terms};
use torpor_handoff::delays::BOUNDS_US;
use torpor_load::machine::cpu_us;
use torpor_load::peer::Peers;
use torpor_load::stand_in::taker::{self, Talk};

use side::binary;

/// torpor's own cost of a hibernate, a wake and a keepalive
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 15_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    clients: u32,
    /// How many wake in each round [default: all]
    #[arg(long)]
    wakes: Option<u32>,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Rate at which delays are measured
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    wakes_per_sec: u32,
    /// Seconds between a client's keepalives, where their cost is measured
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    keepalive_secs: u32,
    /// Seconds that everybody is held, for the cost of keepalives
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    hold: u32,
    /// Lines of torpor's `[sleep]`
    #[arg(long, default_value = "doze_secs = 0")]
    config: String,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo bench adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// One round's figures by name.
type Figures = BTreeMap<&'static str, f64>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    raise_open_files();
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        rounds.push(play(&arguments)?);
    }
    let mut fine = true;
    let mut medians = Figures::new();
    for name in rounds[0].keys() {
        let mut values: Vec<f64> =
            rounds.iter().filter_map(|round| round.get(name)).copied().collect();
        values.sort_by(f64::total_cmp);
        let median = values[values.len() / 2];
        let verdict = match bound(name, median) {
            Some(true) => "ok",
            Some(false) => "MISS",
            None => "",
        };
        fine &= verdict != "MISS";
        println!("{name:44} {median:12.1} {verdict}");
        medians.insert(name, median);
    }
    if let Some(path) = &arguments.json {
        let value = json!({ "clients": arguments.clients, "medians": medians, "rounds": rounds });
        std::fs::write(path, format!("{value:#}\n"))?;
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a figure keeps what was promised; `None`: nothing was.
fn bound(name: &str, value: f64) -> Option<bool> {
    match name {
        CPU_HIBERNATE | CPU_WAKE => Some(value <= 60.0),
        KEEPALIVES => Some(value >= 200_000.0),
        OWN_P99 => Some(value <= 200.0),
        LOST => Some(value < 0.5),
        _ => None,
    }
}

fn play(arguments: &Arguments) -> Result<Figures, Box<dyn Error>> {
    let mut figures = Figures::new();
    hold(arguments, &mut figures)?;
    stir(arguments, &mut figures)?;
    Ok(figures)
}

/// All sleep and are kept alive.
fn hold(arguments: &Arguments, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let Arguments { clients, keepalive_secs, hold, .. } = *arguments;
    let mut pledge = start(arguments, keepalive_secs)?;
    let peers = Peers::start(clients)?;
    peers.accept(clients, |_, stream| pledge.worker.hibernate(stream.as_fd(), None))?;
    thread::sleep(SETTLE);
    let (beats, cpu) = (peers.crowd.tally()?.untagged, cpu_us(&pledge.family()));
    thread::sleep(Duration::from_secs(hold.into()));
    let (beats, cpu) = (peers.crowd.tally()?.untagged - beats, cpu_us(&pledge.family()) - cpu);
    figures.insert(KEEPALIVES, beats as f64 / cpu.max(1.0) * 1e6);
    figures.insert("keepalives sent", beats as f64);
    figures.insert("CPU asleep, % of a core", cpu / 1e4 / f64::from(hold));
    Ok(())
}

/// All fall asleep and wake; no keepalive falls between.
fn stir(arguments: &Arguments, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let clients = arguments.clients;
    let mut pledge = start(arguments, KEEPALIVE_SECS_LATE)?;
    let talks = taker::start(pledge.base_dir(), WORKERS)?;
    let peers = Peers::start(clients)?;

    let (begin, cpu) = (Instant::now(), cpu_us(&pledge.family()));
    peers.accept(clients, |_, stream| pledge.worker.hibernate(stream.as_fd(), None))?;
    let secs = begin.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    figures.insert(CPU_HIBERNATE, (cpu_us(&pledge.family()) - cpu) / f64::from(clients));
    figures.insert("hibernates a second, one worker", f64::from(clients) / secs);

    let mut order: Vec<u32> = (0..clients).collect();
    Rng::with_seed(7).shuffle(&mut order);
    order.truncate(arguments.wakes.unwrap_or(clients) as usize);
    let slow = order.split_off(order.len() - order.len() / 5);
    paced(arguments, &peers, &talks, slow.clone(), figures)?;
    figures.insert(OWN_P99, own_p99_us(&pledge)?);
    at_once(&pledge, &peers, &talks, order.clone(), figures)?;
    let tally = peers.crowd.tally()?;
    let asked = (slow.len() + order.len()) as f64;
    figures.insert(LOST, asked - f64::from(tally.answered) + f64::from(tally.reset));
    Ok(())
}

fn start(arguments: &Arguments, keepalive_secs: u32) -> Result<Pledge, Box<dyn Error>> {
    // Our workers are threads, which never end: only their age says that they are free again.
    let room = "[wake]\nworkers_max = 60000\nawake_age_ms_max = 1000\n";
    let lines = format!("{}\n{room}", arguments.config);
    let terms = Terms::new(&lines, arguments.clients, keepalive_secs)?;
    Ok(Pledge::start(&binary::release()?, &terms)?)
}

/// Wakes at a rate, for their delays.
fn paced(
    arguments: &Arguments,
    peers: &Peers,
    talks: &Receiver<Talk>,
    who: Vec<u32>,
    figures: &mut Figures,
) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let mut delays = Vec::new();
    for (number, peer) in who.into_iter().enumerate() {
        let due =
            begin + Duration::from_secs_f64(number as f64 / f64::from(arguments.wakes_per_sec));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let told = Instant::now();
        peers.crowd.say(vec![peer], b"DONE\r\n")?;
        let Talk { connected, greeted, taken } = talks.recv_timeout(ANSWER_WITHIN)?;
        let delay = connected.saturating_duration_since(told) + (taken - greeted);
        delays.push(delay.as_secs_f64() * 1e6);
    }
    delays.sort_by(f64::total_cmp);
    figures.insert("delay of a wake seen from outside, p50, µs", delays[delays.len() / 2]);
    figures.insert("delay of a wake seen from outside, p99, µs", delays[delays.len() * 99 / 100]);
    Ok(())
}

/// The bound that 99 of 100 wakes have kept, as torpor has counted them.
fn own_p99_us(pledge: &Pledge) -> Result<f64, Box<dyn Error>> {
    let stats = control::stats(&control_path(pledge.base_dir()), true)?;
    let stats: serde_json::Value = serde_json::from_str(&stats)?;
    let count = |name: &str| stats["counters"][name].as_u64().unwrap_or_default();
    let names = BOUNDS_US.map(|bound_us| match bound_us {
        1000 => "delays_1ms".to_owned(),
        _ => format!("delays_{bound_us}us"),
    });
    let counts = names.map(|name| count(&name));
    let all = counts.iter().sum::<u64>() + count("delays_longer");
    if all == 0 {
        return Err("torpor has counted no delay".into());
    }
    let mut within = 0;
    for (bound_us, count) in BOUNDS_US.into_iter().zip(counts) {
        within += count;
        if within * 100 >= all * 99 {
            return Ok(bound_us as f64);
        }
    }
    Ok(f64::INFINITY)
}

/// Wakes as fast as it goes, for their CPU.
fn at_once(
    pledge: &Pledge,
    peers: &Peers,
    talks: &Receiver<Talk>,
    who: Vec<u32>,
    figures: &mut Figures,
) -> Result<(), Box<dyn Error>> {
    let count = who.len();
    let (begin, cpu) = (Instant::now(), cpu_us(&pledge.family()));
    peers.crowd.say(who, b"DONE\r\n")?;
    for _ in 0..count {
        talks.recv_timeout(ANSWER_WITHIN)?;
    }
    let secs = begin.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    figures.insert(CPU_WAKE, (cpu_us(&pledge.family()) - cpu) / count as f64);
    figures.insert("wakes a second", count as f64 / secs);
    Ok(())
}

const CPU_HIBERNATE: &str = "CPU of a hibernate, µs";
const CPU_WAKE: &str = "CPU of a wake, µs";
const KEEPALIVES: &str = "keepalives a second of CPU";
const OWN_P99: &str = "delay of a wake, p99 at most, µs";
const LOST: &str = "clients lost";
/// Later than everybody has woken.
const KEEPALIVE_SECS_LATE: u32 = 3600;
const WORKERS: usize = 8;
const SETTLE: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
