//! The lobby: the gate with a clock, and the connections inside, which can be told to go.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::gate::{Gate, Pass, Verdict};
use crate::config::Front;

/// Everybody who is connected and has not logged in.
#[derive(Debug)]
pub struct Lobby {
    inner: Mutex<Inner>,
    started: Instant,
}

#[derive(Debug)]
struct Inner {
    gate: Gate,
    /// By the number of the connection; dropping it tells the connection to go.
    stays: HashMap<u64, oneshot::Sender<()>>,
}

/// A connection inside. Dropping it is leaving.
#[derive(Debug)]
pub struct Guest {
    lobby: Arc<Lobby>,
    /// None only while it is dropped.
    pass: Option<Pass>,
}

/// Resolves when the connection must go for a newer one.
pub type Displaced = oneshot::Receiver<()>;

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many of its address are inside.
    Crowd,
    /// Too many wrong passwords came from its address.
    Banned,
}

impl Lobby {
    pub fn new(front: &Front) -> Self {
        let inner = Inner { gate: Gate::new(front), stays: HashMap::new() };
        Self { inner: Mutex::new(inner), started: Instant::now() }
    }

    /// Lets a connection in, if need be in the place of the oldest.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<(Guest, Displaced), Refusal> {
        let mut inner = self.lock();
        let (pass, oldest) = match inner.gate.enter(ip, self.now_ms()) {
            Verdict::Enter(pass, oldest) => (pass, oldest),
            Verdict::Crowd => return Err(Refusal::Crowd),
            Verdict::Banned => return Err(Refusal::Banned),
        };
        if let Some(oldest) = oldest {
            inner.stays.remove(&oldest);
        }
        let (stay, displaced) = oneshot::channel();
        inner.stays.insert(pass.number(), stay);
        Ok((Guest { lobby: Arc::clone(self), pass: Some(pass) }, displaced))
    }

    /// Forgets what is old; to be called every second.
    pub fn tidy(&self) {
        self.lock().gate.tidy(self.now_ms());
    }

    /// Connections inside, and addresses that are turned away.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.gate.inside(), inner.gate.banned())
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the lobby")
    }
}

impl Guest {
    /// Its password was wrong: how long the answer must wait, and whether it is the last.
    pub fn failed(&self) -> (Duration, bool) {
        let pass = self.pass.as_ref().expect("inside until dropped");
        let (delay_ms, last) = self.lobby.lock().gate.failed(pass, self.lobby.now_ms());
        (Duration::from_millis(delay_ms), last)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inner = self.lobby.lock();
        if let Some(pass) = self.pass.take() {
            inner.stays.remove(&pass.number());
            inner.gate.leave(pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_displaced_is_told_and_leaves_once() {
        let front = Front { conns_max: 1, ..Front::default() };
        let lobby = Arc::new(Lobby::new(&front));
        let ip = IpAddr::from([192, 0, 2, 1]);
        let (first, mut first_told) = lobby.enter(ip).expect("room");
        assert!(matches!(first_told.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        let (second, mut second_told) = lobby.enter(ip).expect("in the place of the first");
        assert!(matches!(first_told.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        drop(first);
        assert_eq!(lobby.counts(), (1, 0));
        assert!(matches!(second_told.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        drop(second);
        assert_eq!(lobby.counts(), (0, 0));
    }
}
