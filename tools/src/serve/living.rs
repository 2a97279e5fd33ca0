//! Engines that have outlived their keeper, as a new keeper finds them.
//!
//! Procfs names the processes; the kit that each has as its standard input (`crate::kit`) says
//! whose it is, and which of its descriptors is what. Taking them (pidfd_getfd(2)) asks nothing of
//! the engine, which may be busy, or hang: from then on this process holds all that the keeper
//! before held, and the engine hears of it through its door.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Uid;

use super::binary::Binary;
use super::charge::Charge;
use super::given::Given;
use crate::config::Config;
use crate::engine::SUBCOMMAND;
use crate::estate::{Contents, Inventory, Ring};
use crate::kit::{Claim, Kit};
use crate::link::{Link, Word};

/// One of them, taken.
pub struct Living {
    pub number: u32,
    /// Names its kit.
    kit: u64,
    pub charge: Charge,
    pub claim: Claim,
    /// The configuration that it was started with.
    pub config: Config,
    pub contents: Contents<OwnedFd>,
    pub listeners: Listeners,
    door: OwnedFd,
}

/// The sockets that it accepts from.
pub struct Listeners {
    pub hibernate: OwnedFd,
    pub control: OwnedFd,
    pub metrics: Option<OwnedFd>,
}

impl Living {
    /// All that serve `base_dir`, by their numbers.
    ///
    /// # Errors
    /// AddrInUse: their keeper lives. Otherwise why one of them cannot be taken.
    pub fn find(base_dir: &Path) -> io::Result<Vec<Self>> {
        let mut found: Vec<Self> = Vec::new();
        loop {
            // A child of the dead keeper that is about to become an engine holds the claims of all
            // before it, so once these are ours it can be seen.
            let known: Vec<u32> = found.iter().map(|living| living.charge.pid()).collect();
            for pid in processes(SUBCOMMAND).into_iter().filter(|pid| !known.contains(pid)) {
                let living = look(pid, base_dir, &found)?;
                found.extend(living);
            }
            if found.len() == known.len() {
                break;
            }
        }
        found.sort_by_key(|living| living.number);
        Ok(found)
    }

    /// Its sockets are used here, too.
    pub fn give(&self, given: &mut Given) -> io::Result<()> {
        let Listeners { hibernate, control, metrics } = &self.listeners;
        given.add_unix(hibernate.try_clone()?);
        given.add_unix(control.try_clone()?);
        if let Some((address, socket)) = self.config.metrics.listen.zip(metrics.as_ref()) {
            given.add_tcp(address, socket.try_clone()?);
        }
        Ok(())
    }

    /// Tells it of its new keeper; it answers when it serves.
    ///
    /// # Errors
    /// It has ended.
    pub fn greet(&self) -> io::Result<Link> {
        let (link, end) = Link::pair()?;
        let door = Link::over(self.door.try_clone()?);
        door.send(Word::Keeper, &std::process::id().to_string(), Some(end.as_fd()))?;
        Ok(link)
    }
}

/// Pids of torpor's processes with this subcommand; behind them those of interpreters whose script
/// is about to become one.
pub fn processes(subcommand: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let place = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).take(WORDS_MAX).collect();
        let at = words.iter().skip(1).position(|word| *word == subcommand.as_bytes())?;
        (at == 0 || Binary::is_name(words[at])).then_some((at, pid))
    };
    let mut found: Vec<(usize, u32)> = pids.filter_map(place).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, pid)| pid).collect()
}

/// None: it is another's, or has just ended, or is the interpreter that one of `found` came from.
fn look(pid: u32, base_dir: &Path, found: &[Living]) -> io::Result<Option<Living>> {
    let Ok(charge) = Charge::found(pid) else { return Ok(None) };
    let file = match charge.descriptor(0) {
        Ok(file) => File::from(file),
        Err(error) => {
            complain(pid, &error);
            return Ok(None);
        }
    };
    if !Kit::is_genuine(&file) {
        return Ok(None);
    }
    let named = |error: io::Error| {
        let text =
            format!("process {pid}, an engine without a keeper, cannot be taken over: {error}");
        io::Error::new(error.kind(), text)
    };
    let kit = Kit::unpack(&file).map_err(named)?;
    if kit.config.base_dir != base_dir {
        return Ok(None);
    }
    let number = file.metadata()?.ino();
    if found.iter().any(|living| living.kit == number) {
        return Ok(None);
    }
    let claim = Kit::claim(&file).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => in_use(pid, base_dir),
        _ => named(error),
    })?;
    let mut charge = charge;
    match take(&charge, &kit) {
        Ok((contents, listeners, door)) => {
            let (Kit { number, config, .. }, kit) = (kit, number);
            Ok(Some(Living { number, kit, charge, claim, config, contents, listeners, door }))
        }
        Err(_) if charge.ended().is_some() => Ok(None),
        Err(error) => Err(named(error)),
    }
}

fn in_use(pid: u32, base_dir: &Path) -> io::Error {
    let text = format!(
        "base_dir {}: another torpor serves it already, and its keeper lives (process {pid} is an \
         engine of it); stop it first",
        base_dir.display()
    );
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

fn take(charge: &Charge, kit: &Kit) -> io::Result<(Contents<OwnedFd>, Listeners, OwnedFd)> {
    let get = |number: &i32| charge.descriptor(*number);
    let whole = Inventory { formers: Vec::new(), ..kit.estate.clone() };
    let mut contents = whole.map(get)?;
    // An heir that serves has closed them, and what has their numbers now is no business of ours.
    let formers = kit.estate.formers.iter().filter_map(|ring| ring.map(get).ok());
    contents.formers = formers.filter(is_ring).collect();
    let numbers = kit.listeners;
    let listeners = Listeners {
        hibernate: get(&numbers.hibernate)?,
        control: get(&numbers.control)?,
        metrics: numbers.metrics.as_ref().map(get).transpose()?,
    };
    Ok((contents, listeners, get(&kit.door[1])?))
}

fn is_ring(ring: &Ring<OwnedFd>) -> bool {
    let kinds = ["anon_inode:[io_uring]", "/memfd:torpor-received (deleted)"];
    ring.descriptors.iter().zip(kinds).all(|(descriptor, kind)| {
        let link = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        link.is_ok_and(|link| link == Path::new(kind))
    })
}

/// Interpreter, its option, script, subcommand (execve(2)).
const WORDS_MAX: usize = 4;

/// Of a process that may well be meant, but for that. There is no log yet.
fn complain(pid: u32, error: &io::Error) {
    let us = Uid::effective();
    let owner = fs::metadata(format!("/proc/{pid}")).map(|data| data.uid());
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    if is_denied && (us.is_root() || owner.is_ok_and(|owner| owner == us.as_raw())) {
        eprintln!(
            "torpor: process {pid} may be an engine whose keeper was killed, but cannot be looked \
             into ({error}); taking it over needs CAP_SYS_PTRACE and the system call pidfd_getfd"
        );
    }
}
