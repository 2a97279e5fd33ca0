//! The number of sleepers, asked on torpor's control socket (docs/OPERATIONS.md).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Clients asleep; `None` when nobody answers.
pub fn asleep(socket: &Path) -> Option<u64> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    stream.write_all(b"{\"op\":\"stats\"}\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let reply: Value = serde_json::from_str(&line).ok()?;
    reply.pointer("/stats/counters/asleep")?.as_u64()
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
