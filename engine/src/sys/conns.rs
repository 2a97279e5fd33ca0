//! Where hibernate connections sit. One whose last `+` is about to go out is in the vault as well:
//! what its worker makes of that is told there, whichever process of ours lives to hear it.

use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::Arc;

use crate::limits::Limits;
use crate::places::{Held, Places};

use super::clients::patiently;
use super::seats::Seats;
use super::vault::Vault;

/// The connections of an engine, by their numbers in the core.
pub struct Conns {
    seats: Seats<OwnedFd>,
    count: u32,
    vault: Option<Arc<Vault>>,
    places: Places,
    /// True exactly when the vault has the connection too.
    held: Vec<bool>,
}

impl Conns {
    /// None yet. A vault must have the places of these limits.
    pub fn new(limits: &Limits, vault: Option<Arc<Vault>>) -> Self {
        let seats = Seats::new("connection", limits.conns_max);
        let held = vec![false; limits.conns_max as usize];
        Self { seats, count: 0, vault, places: Places::new(limits), held }
    }

    pub fn seat(&mut self, conn: u32, connection: OwnedFd) {
        self.seats.seat(conn, connection);
        self.count += 1;
    }

    /// From now on the vault has it too.
    pub fn hold(&mut self, conn: u32) {
        let Some(vault) = &self.vault else { return };
        let place = self.places.place(Held::Conn(conn));
        patiently(|| vault.put(place, self.seats.owner(conn)));
        self.held[conn as usize] = true;
    }

    /// What a process before us has put into the vault is ours, if there is anything.
    pub fn claim(&mut self, conn: u32) {
        let Some(vault) = &self.vault else { return };
        let place = self.places.place(Held::Conn(conn));
        let taken = patiently(|| match vault.take(place) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            taken => taken.map(Some),
        });
        if let Some(connection) = taken {
            self.seat(conn, connection);
            self.held[conn as usize] = true;
        }
    }

    /// True exactly when nothing is there.
    pub fn is_empty(&self, conn: u32) -> bool {
        self.seats.is_empty(conn)
    }

    /// True exactly when there is none at all.
    pub fn are_none(&self) -> bool {
        self.count == 0
    }

    /// Closes it, if it is there.
    pub fn close(&mut self, conn: u32) {
        if !self.seats.is_empty(conn) {
            drop(self.seats.unseat(conn));
            self.count -= 1;
        }
        if std::mem::take(&mut self.held[conn as usize]) {
            self.release(conn);
        }
    }

    /// The vault has nothing in this place any more.
    pub fn release(&mut self, conn: u32) {
        assert!(!self.held[conn as usize], "it is ours");
        if let Some(vault) = &self.vault {
            patiently(|| vault.clear(self.places.place(Held::Conn(conn))));
        }
    }

    /// An operation leaves for the kernel.
    pub fn depart(&mut self, conn: u32) -> RawFd {
        self.seats.depart(conn).as_raw_fd()
    }

    /// An operation has completed for good.
    pub fn arrive(&mut self, conn: u32) {
        self.seats.arrive(conn);
    }
}
