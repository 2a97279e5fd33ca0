//! The asking side: what `torpor who`, `kick` and `stats` print.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::table;
use super::types::{Client, Reply, Request, Stats};

/// A connection to a running torpor.
pub struct Console {
    stream: BufReader<UnixStream>,
}

/// What one request brought.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asked {
    pub clients: Vec<Client>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    pub count: u64,
}

impl Console {
    /// # Errors
    /// Says which socket it was, and that nobody serves there.
    pub fn connect(path: &Path) -> io::Result<Self> {
        Self::connect_within(path, TIMEOUT)
    }

    /// The same for one that may not be waited for longer than `within`, at each step.
    ///
    /// # Errors
    /// As [`Console::connect`].
    pub fn connect_within(path: &Path, within: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path).map_err(|error| {
            let text = format!("{}: {error} (is torpor serve running?)", path.display());
            io::Error::new(error.kind(), text)
        })?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// # Errors
    /// What the engine answered, or how the connection broke.
    pub fn ask(&mut self, request: &Request) -> io::Result<Asked> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut asked = Asked::default();
        let mut text = String::new();
        loop {
            text.clear();
            if self.stream.read_line(&mut text)? == 0 {
                return Err(io::Error::other("torpor closed the connection"));
            }
            match serde_json::from_str(&text)? {
                Reply::Client(client) => asked.clients.push(*client),
                Reply::Stats(stats) => asked.stats = Some(*stats),
                Reply::Error(error) => return Err(io::Error::other(error)),
                Reply::Done(done) => {
                    asked.count = done.count;
                    return Ok(asked);
                }
            }
        }
    }
}

/// Sleepers as a table, or as `{"clients": [...], "count": N}`.
pub fn who(path: &Path, user: Option<String>, json: bool) -> io::Result<String> {
    let asked = Console::connect(path)?.ask(&Request::Who { user })?;
    if json {
        return pretty(&asked);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(table::who(&asked.clients, now.as_micros() as u64))
}

/// How many were kicked, as a line or as `{"kicked": N}`.
pub fn kick(
    path: &Path,
    user: String,
    session: Option<String>,
    json: bool,
) -> io::Result<(u64, String)> {
    let named = user.clone();
    let asked = Console::connect(path)?.ask(&Request::Kick { user, session })?;
    let count = asked.count;
    if json {
        return Ok((count, pretty(&serde_json::json!({ "kicked": count }))?));
    }
    let sessions = if count == 1 { "session" } else { "sessions" };
    Ok((count, format!("{count} {sessions} of {} kicked\n", table::safe(&named))))
}

/// The state of the engine, as a table or as JSON.
pub fn stats(path: &Path, json: bool) -> io::Result<String> {
    let asked = Console::connect(path)?.ask(&Request::Stats {})?;
    let stats = asked.stats.ok_or_else(|| io::Error::other("torpor sent no statistics"))?;
    if json { pretty(&stats) } else { Ok(table::stats(&stats)) }
}

fn pretty(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

const TIMEOUT: Duration = Duration::from_secs(30);
