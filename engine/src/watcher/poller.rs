//! The polling thread: mailboxes that other hosts write to are looked at by their times.
//!
//! A look may wait for a file server, and a dead one for ever, so that neither the engine nor
//! adoptions wait with it. What is looked at are the directories and files that the worker watched,
//! which are those that its mailbox format changes: `new` and `cur` of a Maildir,
//! `dovecot.index.log` of the others.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use inotify::EventMask;
use nix::sys::stat::FileStat;

use super::fdinfo::Mark;
use super::opener::Opener;
use super::voice::Voice;
use super::wire::Said;
use crate::watch::WatchEvent;

/// What the thread is told.
pub enum Beat {
    /// Look at this from now on; it was so when it was adopted.
    Begin { wd: i32, mark: Box<Mark>, seen: Stamp },
    /// Nobody sleeps on it any more.
    End { wd: i32 },
}

/// What a change changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: i64,
}

impl Stamp {
    pub fn of(stat: &FileStat) -> Self {
        Self {
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            bytes: stat.st_size,
        }
    }
}

/// Everything that is looked at.
pub struct Poller {
    opener: Opener,
    period: Duration,
    round: HashMap<i32, Entry>,
    /// Who is looked at when; of numbers that have ended, or begun anew, the serial is another.
    next: VecDeque<(Instant, i32, u64)>,
    serial: u64,
    voice: Voice,
}

struct Entry {
    mark: Box<Mark>,
    seen: Stamp,
    serial: u64,
}

impl Poller {
    /// Looks at everything once in a `period`. Says what has changed.
    pub fn new(homes: Option<PathBuf>, period: Duration, voice: Voice) -> Self {
        let (round, next) = (HashMap::new(), VecDeque::new());
        Self { opener: Opener::new(homes), period, round, next, serial: 0, voice }
    }

    /// Goes on until nobody can tell it anything any more.
    pub fn run(mut self, orders: &Receiver<Beat>) {
        loop {
            let told = match self.next.front() {
                Some((at, ..)) => orders.recv_deadline(*at),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match told {
                Ok(beat) => self.obey(beat),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn obey(&mut self, beat: Beat) {
        match beat {
            // Who slept there before must not miss what the newcomer has seen.
            Beat::Begin { wd, .. } if self.round.contains_key(&wd) => {}
            Beat::Begin { wd, mark, seen } => {
                self.serial += 1;
                self.round.insert(wd, Entry { mark, seen, serial: self.serial });
                self.next.push_back((Instant::now() + self.period, wd, self.serial));
            }
            Beat::End { wd } => drop(self.round.remove(&wd)),
        }
    }

    /// Looks at whoever is next.
    fn look(&mut self) {
        let Some((_, wd, serial)) = self.next.pop_front() else { return };
        let Some(entry) = self.round.get_mut(&wd).filter(|entry| entry.serial == serial) else {
            return;
        };
        let now = self.opener.open(&entry.mark).map(|(_, stat)| Stamp::of(&stat));
        if let Some(mask) = judge(&mut entry.seen, now) {
            self.voice.say(Said::News(WatchEvent { wd, mask: mask.bits() }));
        }
        self.next.push_back((Instant::now() + self.period, wd, serial));
        // They would keep the filesystem from being unmounted for as long as somebody sleeps.
        self.opener.forget_mounts();
    }
}

/// What is to be told, if anything.
fn judge(seen: &mut Stamp, now: io::Result<Stamp>) -> Option<EventMask> {
    match now {
        Ok(now) if now == *seen => None,
        Ok(now) => {
            *seen = now;
            Some(EventMask::MODIFY)
        }
        // A server that does not answer will be asked again; whatever else, a worker will see.
        Err(error) if PATIENT.contains(&error.raw_os_error().unwrap_or(0)) => None,
        Err(_) => Some(EventMask::DELETE_SELF),
    }
}

const PATIENT: [i32; 5] =
    [libc::EIO, libc::ETIMEDOUT, libc::EHOSTDOWN, libc::EHOSTUNREACH, libc::EINTR];
