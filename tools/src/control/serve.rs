//! The serving side, on threads of its own.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crossbeam_channel::Receiver;
use torpor_engine::limits::Limits;
use torpor_handoff::line::escape_into;
use tracing_appender::non_blocking::ErrorCounter;

use super::others::{Others, engine_path};
use super::types::{Client, Done, EngineStats, Reply, Request, Stats};
use crate::config::Config;
use crate::desk::{Gauges, Losses, Orders, listed};
use crate::socket::Place;
use crate::station::{Station, lines};

/// What operators and metrics may ask for.
#[derive(Clone)]
pub struct Service {
    /// Of this engine.
    pub number: u32,
    pub keeper_pid: Arc<AtomicU32>,
    pub orders: Orders,
    pub gauges: Arc<Gauges>,
    pub losses: Arc<Losses>,
    pub lines_lost: ErrorCounter,
    pub limits: Limits,
    pub base_dir: String,
    pub started: Instant,
    pub others: Others,
}

/// Serves the control socket: answers for all engines and the front.
pub fn open(config: &Config, socket: Receiver<OwnedFd>, service: Service) -> io::Result<Station> {
    let conns_max = config.control.connections_max as usize;
    Station::attend("control", conns_max, socket, move |stream| {
        // Whoever asked has gone; nobody else cares.
        let _ = converse(&stream, |request, out| service.carry_out(request, true, out));
    })
}

/// Opens the socket on which the other engines, if there are any, ask this one.
pub fn open_to_others(config: &Config, service: &Service) -> io::Result<Option<Station>> {
    if service.others.is_alone() {
        return Ok(None);
    }
    let path = engine_path(&config.base_dir, service.number);
    let place = Place { path, mode: 0o600, owner: None, group: None, backlog: 16 };
    let conns_max = (config.control.connections_max * config.engines) as usize + 1;
    let service = service.clone();
    let serve = move |stream| {
        let _ = converse(&stream, |request, out| service.carry_out(request, false, out));
    };
    Station::open("engine", conns_max, move || Some(place.clone()), serve).map(Some)
}

/// Where the configuration wants the control socket.
pub fn place(config: &Config) -> Place {
    let (path, mode) = (config.control_path(), config.control.mode);
    Place { path, mode, owner: None, group: None, backlog: 16 }
}

impl Service {
    /// The state of all engines and the front. Engines that do not answer are missing.
    pub fn stats_of_all(&self) -> Stats {
        let mut stats = self.stats();
        let others = self.others.ask(&Request::Stats {}).filter_map(Result::ok);
        others.filter_map(|asked| asked.stats).for_each(|other| stats.add(other));
        stats.front = self.others.front_counts();
        stats
    }

    /// The state of this engine.
    fn stats(&self) -> Stats {
        let counters = self.gauges.load();
        let uptime_secs = self.started.elapsed().as_secs();
        let engine = EngineStats {
            number: self.number,
            pid: std::process::id(),
            uptime_secs,
            asleep: counters.asleep,
            in_flight: counters.in_flight,
        };
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.keeper_pid.load(Ordering::Relaxed),
            uptime_secs,
            base_dir: self.base_dir.clone(),
            counters: named(&listed(&counters)),
            limits: named(&self.limits()),
            losses: named(&self.lost()),
            front: BTreeMap::new(),
            engines: vec![engine],
        }
    }

    /// Bounds that were reserved at start.
    fn limits(&self) -> [(&'static str, u64); 7] {
        let limits = &self.limits;
        [
            ("slots_max", limits.slots_max.into()),
            ("conns_max", limits.conns_max.into()),
            ("cold_blocks_max", limits.cold_blocks_max.into()),
            ("mailboxes_max", limits.mailboxes_max.into()),
            ("handoffs_in_flight_max", limits.handoffs_in_flight_max.into()),
            ("sends_in_flight_max", limits.sends_in_flight_max.into()),
            ("dozers_max", limits.dozers_max.into()),
        ]
    }

    /// What was dropped because nobody read it in time.
    fn lost(&self) -> [(&'static str, u64); 3] {
        [
            ("log_events", self.losses.notes.load(Ordering::Relaxed)),
            ("log_lines", self.lines_lost.dropped_lines() as u64),
            ("anvil_events", self.losses.papers.load(Ordering::Relaxed)),
        ]
    }

    /// Says everything but the last reply, which it returns. `all`: for the others too.
    fn carry_out(&self, request: Request, all: bool, out: &mut dyn Write) -> io::Result<Reply> {
        let others = if all && !matches!(request, Request::Stats {}) {
            self.pass_on(&request, out)?
        } else {
            Ok(0)
        };
        let ours = match request {
            Request::Who { user } => self.who(user.as_deref(), out)?,
            Request::Kick { user, session } => {
                let session = session.as_deref().map(escaped);
                self.orders.kick(&escaped(&user), session.as_deref()).map_err(io::Error::other)
            }
            Request::Stats {} => {
                let stats = if all { self.stats_of_all() } else { self.stats() };
                Ok(say(out, &Reply::Stats(Box::new(stats)))?)
            }
        };
        Ok(match ours.and_then(|ours| Ok(ours + others?)) {
            Ok(count) => Reply::Done(Done { count }),
            Err(error) => Reply::Error(error.to_string()),
        })
    }

    /// Lets the front and the other engines carry it out; says what they say. The inner result is
    /// theirs: how many it concerned, or which of them did not answer.
    fn pass_on(&self, request: &Request, out: &mut dyn Write) -> io::Result<io::Result<u64>> {
        let mut count = Ok(0);
        let front = std::iter::once_with(|| Ok(self.others.ask_front(request)));
        for asked in front.chain(self.others.ask(request)) {
            match asked {
                Ok(asked) => {
                    count = count.map(|count| count + asked.count);
                    for client in asked.clients {
                        say(out, &Reply::Client(Box::new(client)))?;
                    }
                }
                Err(error) => count = Err(error),
            }
        }
        Ok(count)
    }

    fn who(&self, user: Option<&str>, out: &mut dyn Write) -> io::Result<io::Result<u64>> {
        let engine = (!self.others.is_alone()).then_some(self.number);
        let user = user.map(escaped);
        let (mut count, mut cursor) = (0, Some(0));
        while let Some(at) = cursor {
            let page = match self.orders.who(at, user.clone().map(Into::into)) {
                Ok(page) => page,
                Err(error) => return Ok(Err(io::Error::other(error))),
            };
            for sleeper in page.sleepers() {
                let client = Client { engine, ..sleeper.into() };
                count += say(out, &Reply::Client(Box::new(client)))?;
            }
            cursor = page.answer.cursor;
        }
        Ok(Ok(count))
    }
}

/// Reads requests from a connection until it ends. `carry_out` says everything but the last reply,
/// which it returns.
pub fn converse(
    stream: &UnixStream,
    carry_out: impl Fn(Request, &mut dyn Write) -> io::Result<Reply>,
) -> io::Result<()> {
    let mut out = BufWriter::new(stream);
    for line in lines(stream, REQUEST_BYTES_MAX)? {
        let end = match serde_json::from_slice(&line) {
            Ok(request) => carry_out(request, &mut out)?,
            Err(error) => Reply::Error(format!("request: {error}")),
        };
        say(&mut out, &end)?;
        out.flush()?;
    }
    Ok(())
}

/// Says one line, and how many that were.
pub fn say(mut out: &mut dyn Write, reply: &Reply) -> io::Result<u64> {
    serde_json::to_writer(&mut out, reply)?;
    out.write_all(b"\n")?;
    Ok(1)
}

/// Values by name.
pub fn named(values: &[(&str, u64)]) -> BTreeMap<String, u64> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// As the engine compares names.
fn escaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    escape_into(&mut bytes, text.as_bytes());
    bytes
}

const REQUEST_BYTES_MAX: u64 = 64 << 10;
