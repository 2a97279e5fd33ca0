//! The admin socket on which anvil of Dovecot 2.4 asks for kicks.
//!
//! Anvil connects to `base_dir/srv.imap-hibernate/<pid>`, where the pid is the registered one,
//! says `KICK-USER user [guid]` and reads how many were kicked.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use std::os::unix::fs::DirBuilderExt;
use torpor_handoff::line::escape_into;

use super::wire::{ADMIN_GREETING, ADMIN_HELLO, Kick, Sleep};
use crate::desk::{OrderError, Orders};
use crate::socket::Place;
use crate::station::{Station, lines};

/// Opens the socket for as long as `greets` is true, under the helper's pid.
pub fn open(
    base_dir: &Path,
    orders: Orders,
    pid: Arc<AtomicU32>,
    greets: Arc<AtomicBool>,
) -> io::Result<Station> {
    let dir = base_dir.join("srv.imap-hibernate");
    let place = move || {
        if !greets.load(Ordering::Relaxed) {
            return None;
        }
        // It exists already unless Dovecot's own service is off; a failure shows at the bind.
        let _ = std::fs::DirBuilder::new().mode(0o700).create(&dir);
        let path = dir.join(pid.load(Ordering::Relaxed).to_string());
        Some(Place { path, mode: 0o600, owner: None, group: None, backlog: 16 })
    };
    Station::open("admin", CONNS_MAX, place, move |stream| {
        if let Err(error) = serve(&orders, &stream) {
            tracing::warn!("admin socket: {error}");
        }
    })
}

fn serve(orders: &Orders, mut stream: &UnixStream) -> io::Result<()> {
    stream.write_all(ADMIN_GREETING)?;
    let mut lines = lines(stream, LINE_BYTES_MAX)?;
    let Some(hello) = lines.next() else { return Ok(()) };
    if !hello.starts_with(ADMIN_HELLO) {
        return Err(io::Error::other("the first line is not that of a master-admin-client"));
    }
    for line in lines {
        let reply = match Kick::parse(&line).map(|kick| carry_out(orders, &kick)) {
            Some(Ok(count)) => {
                tracing::info!(event = "kicked", count, "{count} sleepers kicked by doveadm");
                format!("+{count}\n")
            }
            Some(Err(error)) => format!("-{error}\n"),
            None => "-Unknown command\n".to_owned(),
        };
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}

/// Kicks all of a user's sleepers, or the one that was registered under a GUID.
fn carry_out(orders: &Orders, kick: &Kick) -> Result<u64, OrderError> {
    let user = escaped(&kick.user);
    let Some(guid) = &kick.guid else { return orders.kick(&user, None) };
    let Some(sleep) = Sleep::from_guid(guid) else { return Ok(0) };
    let page = orders.who(sleep.slot, Some(user.clone().into()))?;
    let mut found = page.sleepers().filter(|sleeper| {
        (sleeper.slot, sleeper.generation, sleeper.started_us)
            == (sleep.slot, sleep.generation, sleep.started_us)
    });
    // Without a session id the client could not be told from the user's others.
    let session = found.next().map(|sleeper| sleeper.card.session);
    match session.filter(|session| !session.is_empty()) {
        Some(session) => orders.kick(&user, Some(&escaped(&session))),
        None => Ok(0),
    }
}

fn escaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    escape_into(&mut bytes, text.as_bytes());
    bytes
}

const CONNS_MAX: usize = 8;
const LINE_BYTES_MAX: u64 = 4096;
