//! The roll of the workers that live: their pids, and whom each serves.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use torpor_handoff::line::unescape_into;

/// By pid.
#[derive(Debug, Default)]
pub struct Roll(Mutex<HashMap<u32, Awake>>);

/// Whom a worker serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awake {
    /// Empty: it has not said so yet.
    pub user: String,
    pub session: String,
    pub remote_ip: String,
}

impl Roll {
    pub fn add(&self, pid: u32, awake: Awake) {
        self.lock().insert(pid, awake);
    }

    pub fn remove(&self, pid: u32) -> Awake {
        self.lock().remove(&pid).unwrap_or_default()
    }

    /// A worker has said whom it serves: `pid TAB user TAB session TAB remote ip`, tab-escaped.
    pub fn take_badge(&self, line: &[u8]) {
        let mut fields = line.split(|byte| *byte == b'\t').map(|field| {
            let mut bytes = Vec::with_capacity(field.len());
            unescape_into(&mut bytes, field);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut next = || fields.next().unwrap_or_default();
        let pid = next().parse::<u32>();
        let awake = Awake { user: next(), session: next(), remote_ip: next() };
        // It may have ended already.
        if let Ok(pid) = pid
            && let Some(known) = self.lock().get_mut(&pid)
        {
            *known = awake;
        }
    }

    /// Pids and whom they serve, in the order of the pids.
    pub fn list(&self) -> Vec<(u32, Awake)> {
        let mut all: Vec<_> =
            self.lock().iter().map(|(pid, awake)| (*pid, awake.clone())).collect();
        all.sort_unstable_by_key(|(pid, _)| *pid);
        all
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells the workers that `fits` picks to say BYE and end; says how many there were.
    ///
    /// One that was reaped a moment ago may still be on the roll: its pid is nobody's then, since
    /// Linux uses a pid again only after all others.
    pub fn end(&self, fits: impl Fn(&Awake) -> bool) -> u64 {
        let roll = self.lock();
        let picked = roll.iter().filter(|(_, awake)| fits(awake));
        let told =
            picked.filter(|(pid, _)| match kill(Pid::from_raw(**pid as i32), Signal::SIGTERM) {
                Ok(()) => true,
                Err(Errno::ESRCH) => false,
                Err(errno) => {
                    tracing::error!("worker {pid} cannot be told to end: {errno}");
                    false
                }
            });
        told.count() as u64
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Awake>> {
        self.0.lock().expect("nothing panics while it holds the roll")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_tells_whom_a_known_worker_serves() {
        let roll = Roll::default();
        roll.add(7, Awake::default());
        roll.take_badge(b"7\ta\x01tb\ts1\t192.0.2.7");
        roll.take_badge(b"8\tbob\ts2\t");
        roll.take_badge(b"x\tbob");
        roll.take_badge(b"");
        let ann =
            Awake { user: "a\tb".into(), session: "s1".into(), remote_ip: "192.0.2.7".into() };
        assert_eq!(roll.list(), [(7, ann.clone())]);
        assert_eq!(roll.remove(7), ann);
        assert_eq!(roll.count(), 0);
    }

    #[test]
    fn only_those_who_fit_are_told_to_end() {
        let roll = Roll::default();
        let sleep = || std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let (mut ann, mut bob) = (sleep(), sleep());
        let named = |user: &str| Awake { user: user.into(), ..Awake::default() };
        roll.add(ann.id(), named("ann"));
        roll.add(bob.id(), named("bob"));
        assert_eq!(roll.end(|awake| awake.user == "ann"), 1);
        ann.wait().expect("it ends");
        assert!(matches!(bob.try_wait(), Ok(None)), "the other lives");
        assert_eq!(roll.end(|awake| awake.user == "ann"), 0, "nobody has that pid any more");
        bob.kill().expect("it lives");
        bob.wait().expect("it ends");
    }
}
