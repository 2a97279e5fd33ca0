//! Which descriptor sits where, and what is in flight on it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A table of places. A registered table can take its place behind the same calls.
pub struct Seats {
    what: &'static str,
    /// Grows to the highest place that was ever used, within what is reserved: a place that never
    /// was costs no memory.
    seats: Vec<Seat>,
    count: usize,
}

impl Seats {
    /// `count` empty places; `what` names them in assertions.
    pub fn new(what: &'static str, count: u32) -> Self {
        Self { what, seats: Vec::with_capacity(count as usize), count: count as usize }
    }

    /// Puts a descriptor into an empty place.
    pub fn seat(&mut self, place: u32, descriptor: OwnedFd) {
        assert!((place as usize) < self.count, "{} {place} is none", self.what);
        while self.seats.len() <= place as usize {
            self.seats.push(Seat { owner: None, in_flight: 0 });
        }
        let seat = &mut self.seats[place as usize];
        assert!(seat.owner.is_none(), "{} {place} is taken", self.what);
        assert!(seat.in_flight == 0, "{} {place} still has operations", self.what);
        seat.owner = Some(descriptor);
    }

    /// Takes the descriptor out. Nothing may be in flight: the kernel would hold its file, and a
    /// receive would go on eating the client's bytes.
    pub fn unseat(&mut self, place: u32) -> OwnedFd {
        let seat = &mut self.seats[place as usize];
        assert!(seat.in_flight == 0, "{} {place} has operations in flight", self.what);
        seat.owner.take().unwrap_or_else(|| panic!("{} {place} is empty", self.what))
    }

    /// An operation leaves for the kernel.
    pub fn depart(&mut self, place: u32) -> RawFd {
        let seat = &mut self.seats[place as usize];
        let owner = seat.owner.as_ref();
        let raw = owner.unwrap_or_else(|| panic!("{} {place} is empty", self.what)).as_raw_fd();
        seat.in_flight += 1;
        assert!(seat.in_flight <= 2, "{} {place}: one receive and one send at most", self.what);
        raw
    }

    /// An operation has completed for good.
    pub fn arrive(&mut self, place: u32) {
        let seat = &mut self.seats[place as usize];
        assert!(seat.in_flight > 0, "{} {place} had nothing in flight", self.what);
        seat.in_flight -= 1;
    }
}

struct Seat {
    owner: Option<OwnedFd>,
    in_flight: u8,
}

const _: () = assert!(size_of::<Seat>() == 8, "a place costs eight bytes");
