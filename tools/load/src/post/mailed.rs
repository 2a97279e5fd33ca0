//! When each client's mail was delivered: written by the postman, read by the clients.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One place for each client of a crew.
#[derive(Debug)]
pub struct Mailed {
    began: Instant,
    /// Nanoseconds since `began`, 0: nothing new.
    stamps: Vec<AtomicU64>,
    failures: Mutex<Vec<(u32, String)>>,
}

impl Mailed {
    pub fn new(seats: u32) -> Self {
        let stamps = (0..seats).map(|_| AtomicU64::new(0)).collect();
        Self { began: Instant::now(), stamps, failures: Mutex::default() }
    }

    /// A mail for this client becomes visible now.
    pub fn stamp(&self, seat: u32) {
        let nanos = self.began.elapsed().as_nanos() as u64;
        self.stamps[seat as usize].store(nanos.max(1), Ordering::SeqCst);
    }

    /// The moment of the mail that the client has not heard of yet.
    pub fn peek(&self, seat: u32) -> Option<Instant> {
        self.moment(self.stamps[seat as usize].load(Ordering::SeqCst))
    }

    /// The same, and forgets it.
    pub fn take(&self, seat: u32) -> Option<Instant> {
        self.moment(self.stamps[seat as usize].swap(0, Ordering::SeqCst))
    }

    /// Nothing will come for this client.
    pub fn fail(&self, seat: u32, why: String) {
        self.failures.lock().expect("nobody panics holding it").push((seat, why));
    }

    /// Failures since the last call.
    pub fn failures(&self) -> Vec<(u32, String)> {
        std::mem::take(&mut self.failures.lock().expect("nobody panics holding it"))
    }

    fn moment(&self, nanos: u64) -> Option<Instant> {
        (nanos > 0).then(|| self.began + Duration::from_nanos(nanos))
    }
}
