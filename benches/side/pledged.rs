//! Sleepers of a torpor, weighed stage by stage.

use std::convert::Infallible;
use std::error::Error;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use torpor::load::pledge::{Pledge, Terms};
use torpor_engine::sys::vault::Vault;
use torpor_load::peer::Peers;
use torpor_load::stand_in::maildirs::{Copies, Maildirs};

use super::binary;
use super::scale::{Scale, Weight};

/// Sleepers on TCP, with these lines of configuration.
///
/// # Errors
/// torpor does not start, or refuses somebody.
pub fn tcp(clients: u32, config: &str) -> Result<Weight, Box<dyn Error>> {
    let mut pledge = start(clients, config)?;
    let peers = Peers::start(clients + 1)?;
    hold(&mut pledge, &peers, 1)?;
    let before = Scale::settled(&pledge.family())?;
    hold(&mut pledge, &peers, clients)?;
    Ok(before.until(&Scale::read(&pledge.family())?, clients))
}

/// Sleepers on AF_UNIX, as imap-login's proxy leaves them; the proxy's end is taken off. The ends
/// have no descriptor numbers: whoever lists /proc/PID/fd of all processes leaves an inode and a
/// dentry behind for each number, which weigh as much as a quarter of a socket.
///
/// # Errors
/// As [`tcp`].
pub fn unix(clients: u32, config: &str) -> Result<Weight, Box<dyn Error>> {
    let mut pledge = start(clients, config)?;
    let ends = Vault::create(2 * BARE_PAIRS + clients + 1)?;
    let mut places = 0..ends.places();
    let mut hold = |end: UnixStream| ends.put(places.next().expect("a place for each end"), end);
    let before = Scale::settled(&[])?;
    for _ in 0..BARE_PAIRS {
        let (one, other) = UnixStream::pair()?;
        hold(one)?;
        hold(other)?;
    }
    let end = before.until(&Scale::read(&[])?, 2 * BARE_PAIRS).kernel;
    let mut pair = |pledge: &mut Pledge| -> Result<(), Box<dyn Error>> {
        let (client, server) = UnixStream::pair()?;
        hold(client)?;
        Ok(pledge.worker.hibernate(server.as_fd(), None)?)
    };
    pair(&mut pledge)?;
    let before = Scale::settled(&pledge.family())?;
    for _ in 0..clients {
        pair(&mut pledge)?;
    }
    thread::sleep(SETTLE);
    Ok(before.until(&Scale::read(&pledge.family())?, clients).without(end))
}

/// What watching a mailbox of its own adds to a sleeper: what the watch holds, not what the worker
/// before it has left in the kernel's caches. So those who watch nothing come from workers that
/// did, and one half of them before the others and one after: what drifts weighs the same on
/// either side.
///
/// # Errors
/// As [`tcp`].
pub fn watch(mailboxes: u32, config: &str) -> Result<Weight, Box<dyn Error>> {
    let half = mailboxes.div_ceil(2);
    let all = 2 * (2 * half + 1);
    // The looks take a while, in which nothing else is to happen to anybody.
    let mut pledge = Pledge::start(&binary::release()?, &Terms::new(config, all, 0)?)?;
    let peers = Peers::start(all)?;
    let mut maildirs = Maildirs::new(pledge.base_dir().join("mail"));
    maildirs.make(all)?;
    let mut look = |count: u32, told: bool| -> Result<Scale, Box<dyn Error>> {
        hold_watched(&mut pledge, &peers, &mut maildirs, count, told)?;
        Ok(Scale::held(&pledge.family())?)
    };
    look(1, false)?;
    let begin = look(1, true)?;
    let (before, after) = (look(half, false)?, look(2 * half, true)?);
    let end = look(half, false)?;
    let blind = Weight::mean(&[begin.until(&before, half), after.until(&end, half)]);
    Ok(before.until(&after, 2 * half).on_top_of(&blind))
}

fn start(clients: u32, config: &str) -> Result<Pledge, Box<dyn Error>> {
    Ok(Pledge::start(&binary::release()?, &Terms::new(config, clients, 120)?)?)
}

fn hold(pledge: &mut Pledge, peers: &Peers, count: u32) -> Result<(), Box<dyn Error>> {
    peers.accept(count, |_, stream| pledge.worker.hibernate(stream.as_fd(), None))?;
    // The last + is out before the engine has counted its sleeper.
    thread::sleep(SETTLE);
    Ok(())
}

/// As many whose worker watches a mailbox for each, of which torpor is told or not.
fn hold_watched(
    pledge: &mut Pledge,
    peers: &Peers,
    maildirs: &mut Maildirs,
    count: u32,
    told: bool,
) -> Result<(), Box<dyn Error>> {
    maildirs.look()?;
    let mut streams = Vec::new();
    let mut copies = Copies::default();
    peers.accept(count, |_, stream| {
        streams.push(stream);
        Ok::<(), Infallible>(())
    })?;
    for stream in streams {
        let notify = maildirs.watch()?;
        pledge.worker.hibernate(stream.as_fd(), told.then(|| notify.as_fd()))?;
        copies.keep(notify);
    }
    copies.close();
    thread::sleep(SETTLE);
    Ok(())
}

/// Enough that slabs which others have left half empty weigh little.
const BARE_PAIRS: u32 = 5000;
const SETTLE: Duration = Duration::from_millis(1500);
