//! What operators may ask the front: the awake half of `torpor who`, `kick` and `stats`.
//!
//! The same lines as on the engine's control socket. Operators do not come here: the engine's
//! process asks on their behalf and puts both halves together.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::Front;
use super::roll::Awake;
use crate::config::Config;
use crate::control::{Client, Done, Reply, Request, Stats, converse, named, say};
use crate::socket::Place;
use crate::station::Station;

/// Where the front of a `base_dir` is asked.
pub fn control_path(base_dir: &Path) -> PathBuf {
    base_dir.join("torpor-front.sock")
}

/// Opens the socket.
pub(super) fn open(config: &Config, front: Arc<Front>) -> io::Result<Station> {
    let path = control_path(&config.base_dir);
    let place = Place { path, mode: 0o600, owner: None, group: None, backlog: 16 };
    let conns_max = config.control.connections_max as usize + 1;
    let base_dir = config.base_dir.display().to_string();
    let desk = Desk { front, base_dir, started: Instant::now() };
    let serve = move |stream| {
        // Whoever asked has gone; nobody else cares.
        let _ = converse(&stream, |request, out| desk.carry_out(request, out));
    };
    Station::open("front", conns_max, move || Some(place.clone()), serve)
}

struct Desk {
    front: Arc<Front>,
    base_dir: String,
    started: Instant,
}

impl Desk {
    fn carry_out(&self, request: Request, out: &mut dyn Write) -> io::Result<Reply> {
        let roll = &self.front.crew.roll;
        let count = match request {
            Request::Who { user } => {
                let wanted = |awake: &Awake| user.as_ref().is_none_or(|user| *user == awake.user);
                let picked = roll.list().into_iter().filter(|(_, awake)| wanted(awake));
                picked.map(|(pid, awake)| say(out, &shown(pid, awake))).sum::<io::Result<u64>>()?
            }
            Request::Kick { user, session } => roll.end(|awake| {
                awake.user == user && session.as_ref().is_none_or(|id| *id == awake.session)
            }),
            Request::Stats {} => say(out, &Reply::Stats(Box::new(self.stats())))?,
        };
        Ok(Reply::Done(Done { count }))
    }

    fn stats(&self) -> Stats {
        let Front { crew, lobby, counts, knobs, book, .. } = &*self.front;
        let (inside, banned) = lobby.counts();
        let gauges = [
            ("workers", crew.roll.count() as u64),
            ("waiting", inside as u64),
            ("banned", banned as u64),
            ("users", book.users().count() as u64),
        ];
        let counters = gauges.into_iter().chain(counts.listed());
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_secs: self.started.elapsed().as_secs(),
            base_dir: self.base_dir.clone(),
            counters: named(&counters.collect::<Vec<_>>()),
            limits: named(&[
                ("workers_max", knobs.workers_max.into()),
                ("conns_max", knobs.conns_max.into()),
            ]),
            ..Stats::default()
        }
    }
}

fn shown(pid: u32, awake: Awake) -> Reply {
    let Awake { user, session, remote_ip } = awake;
    let state = "awake".to_owned();
    Reply::Client(Box::new(Client {
        user,
        session,
        remote_ip,
        state,
        pid: Some(pid),
        ..Client::default()
    }))
}
