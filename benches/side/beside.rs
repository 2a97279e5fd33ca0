//! What others take: stock Dovecot's holder of sleepers, its idle worker, its proxy for TLS.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use torpor::dovecot::{Client, Dovecot, Options, Owner, Version};
use torpor_load::peer::Peers;
use torpor_load::stand_in::maildirs::{Copies, Maildirs};
use torpor_load::stand_in::worker::Worker;

use super::scale::{Scale, Weight};

/// A client that sleeps in stock imap-hibernate, its watches included.
///
/// # Errors
/// No Dovecot, or it refuses somebody.
pub fn hibernate(clients: u32) -> Result<Weight, Box<dyn Error>> {
    let dovecot = Dovecot::start(&options(1, 1))?;
    let peers = Peers::start(clients + 1)?;
    let mut worker = Worker::new(dovecot.base_dir().join("imap-hibernate"), 120);
    let mut maildirs = Maildirs::new(dovecot.dir().join("mail"));
    let mut copies = Copies::default();
    maildirs.make(clients + 1)?;
    let mut hold = |count| {
        maildirs.look()?;
        peers.accept(count, |_, stream| {
            let notify = maildirs.watch()?;
            worker.hibernate(stream.as_fd(), Some(notify.as_fd()))?;
            copies.keep(notify);
            Ok::<(), std::io::Error>(())
        })?;
        copies.close();
        std::thread::sleep(SETTLE);
        Ok::<(), Box<dyn Error>>(())
    };
    hold(1)?;
    let before = Scale::held(&named(&dovecot, "imap-hibernate"))?;
    hold(clients)?;
    Ok(before.until(&Scale::held(&named(&dovecot, "imap-hibernate"))?, clients))
}

/// A client in IDLE in its own stock imap process.
///
/// # Errors
/// As [`hibernate`].
pub fn imap(clients: u32) -> Result<Weight, Box<dyn Error>> {
    let dovecot = Dovecot::start(&options(clients + 1, 0))?;
    let (_ends, end) = loopback_end()?;
    let log_in = |number| Client::asleep(dovecot.endpoint(false), &Options::user(number));
    let _first = log_in(clients + 1)?;
    let before = Scale::settled(&named(&dovecot, "imap"))?;
    let _others = (1..=clients).map(log_in).collect::<Result<Vec<_>, _>>()?;
    let after = Scale::read(&named(&dovecot, "imap"))?;
    Ok(before.until(&after, clients).without(end))
}

/// What imap-login keeps for a TLS client whose session sleeps in imap-hibernate.
///
/// # Errors
/// As [`hibernate`].
pub fn proxy(clients: u32) -> Result<Weight, Box<dyn Error>> {
    let dovecot = Dovecot::start(&options(clients + 1, 1))?;
    let (_ends, end) = loopback_end()?;
    let log_in = |number| Client::asleep(dovecot.endpoint(true), &Options::user(number));
    let _first = log_in(clients + 1)?;
    let before = Scale::settled(&named(&dovecot, "imap-login"))?;
    let _others = (1..=clients).map(log_in).collect::<Result<Vec<_>, _>>()?;
    while !dovecot.imap_pids().is_empty() {
        std::thread::sleep(SETTLE);
    }
    let after = Scale::read(&named(&dovecot, "imap-login"))?;
    Ok(before.until(&after, clients).without(end))
}

fn options(users: u32, hibernate_timeout_secs: u32) -> Options {
    let imap_process_limit = users + 100;
    let owner = Owner::Stock;
    Options {
        users,
        owner,
        hibernate_timeout_secs,
        imap_process_limit,
        ..Options::new(Version::V23)
    }
}

/// Kernel memory of the client's end of a connection over loopback, and those that were weighed.
fn loopback_end() -> Result<(Vec<OwnedFd>, f64), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let before = Scale::settled(&[])?;
    let mut ends: Vec<OwnedFd> = Vec::new();
    for _ in 0..BARE_PAIRS {
        ends.push(TcpStream::connect(listener.local_addr()?)?.into());
        ends.push(listener.accept()?.0.into());
    }
    let end = before.until(&Scale::read(&[])?, 2 * BARE_PAIRS).kernel;
    Ok((ends, end))
}

/// Dovecot's processes of this name.
fn named(dovecot: &Dovecot, name: &str) -> Vec<i32> {
    let is_named = |pid: &i32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim_end() == name
    };
    let master = dovecot.pid().unwrap_or_default();
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    let children = children.unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_named).collect()
}

const BARE_PAIRS: u32 = 1000;
const SETTLE: Duration = Duration::from_millis(500);
