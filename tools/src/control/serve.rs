//! The serving side, on threads of its own.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use torpor_engine::limits::Limits;
use torpor_handoff::line::escape_into;
use tracing_appender::non_blocking::ErrorCounter;

use super::ask::{Asked, Console};
use super::types::{Done, Reply, Request, Stats};
use crate::config::Config;
use crate::desk::{Gauges, Losses, Orders, listed};
use crate::socket::Place;
use crate::station::{Station, lines};

/// What operators and metrics may ask for.
#[derive(Clone)]
pub struct Service {
    pub orders: Orders,
    pub gauges: Arc<Gauges>,
    pub losses: Arc<Losses>,
    pub lines_lost: ErrorCounter,
    pub limits: Limits,
    pub base_dir: String,
    pub started: Instant,
    /// The control socket of the front, where there is one.
    pub front: Option<PathBuf>,
}

/// Opens the socket that the configuration names.
pub fn open(config: &Config, service: Service) -> io::Result<Station> {
    let place = Place {
        path: config.control_path(),
        mode: config.control.mode,
        owner: None,
        group: None,
        backlog: 16,
    };
    let conns_max = config.control.connections_max as usize;
    Station::open(
        "control",
        conns_max,
        move || Some(place.clone()),
        move |stream| {
            // Whoever asked has gone; nobody else cares.
            let _ = converse(&stream, |request, out| service.carry_out(request, out));
        },
    )
}

impl Service {
    /// The state of the engine.
    pub fn stats(&self) -> Stats {
        let counters = listed(&self.gauges.load());
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_secs: self.started.elapsed().as_secs(),
            base_dir: self.base_dir.clone(),
            counters: named(&counters),
            limits: named(&self.limits()),
            losses: named(&self.lost()),
            front: self.front_counts(),
        }
    }

    /// The front's half of an answer; nothing where there is no front, or none at the moment.
    pub fn ask_front(&self, request: &Request) -> Asked {
        let Some(path) = &self.front else { return Asked::default() };
        let asked = Console::connect_within(path, FRONT_WITHIN).and_then(|mut it| it.ask(request));
        asked.unwrap_or_default()
    }

    /// The front's gauges and totals.
    pub fn front_counts(&self) -> BTreeMap<String, u64> {
        self.ask_front(&Request::Stats {}).stats.map(|stats| stats.counters).unwrap_or_default()
    }

    /// Bounds that were reserved at start.
    pub fn limits(&self) -> [(&'static str, u64); 7] {
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
    pub fn lost(&self) -> [(&'static str, u64); 3] {
        [
            ("log_events", self.losses.notes.load(Ordering::Relaxed)),
            ("log_lines", self.lines_lost.dropped_lines() as u64),
            ("anvil_events", self.losses.papers.load(Ordering::Relaxed)),
        ]
    }

    /// Says everything but the last reply, which it returns.
    fn carry_out(&self, request: Request, out: &mut dyn Write) -> io::Result<Reply> {
        let mut awake = 0;
        let result = match request {
            Request::Who { user } => return self.who(user.as_deref(), out),
            Request::Kick { user, session } => {
                let kick = Request::Kick { user: user.clone(), session: session.clone() };
                awake = self.ask_front(&kick).count;
                let session = session.as_deref().map(escaped);
                self.orders.kick(&escaped(&user), session.as_deref())
            }
            Request::Stats {} => Ok(say(out, &Reply::Stats(Box::new(self.stats())))?),
        };
        Ok(match result {
            Ok(count) => Reply::Done(Done { count: count + awake }),
            Err(error) => Reply::Error(error.to_string()),
        })
    }

    fn who(&self, user: Option<&str>, out: &mut dyn Write) -> io::Result<Reply> {
        let awake = self.ask_front(&Request::Who { user: user.map(str::to_owned) }).clients;
        let mut count = 0;
        for client in awake {
            count += say(out, &Reply::Client(Box::new(client)))?;
        }
        let user = user.map(escaped);
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let page = match self.orders.who(at, user.clone().map(Into::into)) {
                Ok(page) => page,
                Err(error) => return Ok(Reply::Error(error.to_string())),
            };
            for sleeper in page.sleepers() {
                count += say(out, &Reply::Client(Box::new(sleeper.into())))?;
            }
            cursor = page.answer.cursor;
        }
        Ok(Reply::Done(Done { count }))
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

/// An operator waits no longer for a front that hangs.
const FRONT_WITHIN: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: u64 = 64 << 10;
