//! Many sleepers at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sleeper::Sleeper;

/// Logs users `first..first + count` in, a few at a time.
///
/// # Errors
/// One of them was refused.
pub fn log_in(address: SocketAddr, first: u32, count: u32) -> io::Result<Vec<Sleeper>> {
    let part = count.div_ceil(LOGINS_AT_ONCE).max(1);
    let starts = (first..first + count).step_by(part as usize);
    let one = |start: u32| -> io::Result<Vec<Sleeper>> {
        let end = (start + part).min(first + count);
        (start..end).map(|number| Sleeper::login(address, number)).collect()
    };
    let parts: Vec<io::Result<Vec<Sleeper>>> = thread::scope(|scope| {
        let handles: Vec<_> = starts.map(|start| scope.spawn(move || one(start))).collect();
        let joined = handles.into_iter().map(|handle| handle.join());
        joined.map(|part| part.unwrap_or_else(|_| Err(io::Error::other("panic")))).collect()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

/// What became of a sleeper that should be answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// The line it waits for came this long after the start.
    Answered(Duration),
    /// The server closed its connection.
    Lost,
    /// Nothing of the kind came in time.
    Silent,
}

/// Waits until `answers` is true of a line of each sleeper, or `until` is over. Whoever has been
/// answered idles again at once, so that it can fall asleep, if it `resumes`.
pub fn gather(
    sleepers: &mut [Sleeper],
    start: Instant,
    until: Instant,
    resumes: bool,
    answers: impl Fn(&Sleeper, &str) -> bool,
) -> io::Result<Vec<Fate>> {
    let mut fates = vec![Fate::Silent; sleepers.len()];
    loop {
        let open: Vec<usize> = (0..fates.len()).filter(|at| fates[*at] == Fate::Silent).collect();
        let left = until.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            return Ok(fates);
        }
        for at in readable(sleepers, &open, left)? {
            fates[at] = look(&mut sleepers[at], start, &answers);
            if resumes && matches!(fates[at], Fate::Answered(_)) {
                sleepers[at].idle()?;
            }
        }
    }
}

/// Those of `open` that have something to read.
fn readable(sleepers: &[Sleeper], open: &[usize], left: Duration) -> io::Result<Vec<usize>> {
    let mut fds: Vec<PollFd<'_>> =
        open.iter().map(|at| PollFd::new(sleepers[*at].as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
    let ready = open.iter().zip(&fds).filter(|(_, fd)| fd.any() == Some(true));
    Ok(ready.map(|(at, _)| *at).collect())
}

fn look(sleeper: &mut Sleeper, start: Instant, answers: impl Fn(&Sleeper, &str) -> bool) -> Fate {
    match sleeper.fill() {
        Ok(0) | Err(_) => return Fate::Lost,
        Ok(_) => {}
    }
    let at = start.elapsed();
    while let Some(line) = sleeper.line() {
        if line.starts_with("* BYE") {
            return Fate::Lost;
        }
        if answers(sleeper, &line) {
            return Fate::Answered(at);
        }
    }
    Fate::Silent
}

const LOGINS_AT_ONCE: u32 = 4;
