//! Which descriptor sits where, and what is in flight on it.

/// A table of places; `Owner` is what a place has: a descriptor, or nothing but the fact that the
/// vault has it.
pub struct Seats<Owner> {
    what: &'static str,
    /// Grows to the highest place that was ever used, within what is reserved: a place that never
    /// was costs no memory.
    seats: Vec<Seat<Owner>>,
    count: usize,
}

impl<Owner> Seats<Owner> {
    /// `count` empty places; `what` names them in assertions.
    pub fn new(what: &'static str, count: u32) -> Self {
        Self { what, seats: Vec::with_capacity(count as usize), count: count as usize }
    }

    /// Puts somebody into an empty place.
    pub fn seat(&mut self, place: u32, owner: Owner) {
        assert!((place as usize) < self.count, "{} {place} is none", self.what);
        while self.seats.len() <= place as usize {
            self.seats.push(Seat { owner: None, in_flight: 0 });
        }
        let seat = &mut self.seats[place as usize];
        assert!(seat.owner.is_none(), "{} {place} is taken", self.what);
        assert!(seat.in_flight == 0, "{} {place} still has operations", self.what);
        seat.owner = Some(owner);
    }

    /// Takes it out. Nothing may be in flight: the kernel would hold its file, and a
    /// receive would go on eating the client's bytes.
    pub fn unseat(&mut self, place: u32) -> Owner {
        let seat = &mut self.seats[place as usize];
        assert!(seat.in_flight == 0, "{} {place} has operations in flight", self.what);
        seat.owner.take().unwrap_or_else(|| panic!("{} {place} is empty", self.what))
    }

    /// An operation leaves for the kernel.
    pub fn depart(&mut self, place: u32) -> &Owner {
        let seat = &mut self.seats[place as usize];
        seat.in_flight += 1;
        assert!(seat.in_flight <= 2, "{} {place}: one receive and one send at most", self.what);
        self.owner(place)
    }

    /// True exactly when somebody is there.
    pub fn is_taken(&self, place: u32) -> bool {
        self.seats.get(place as usize).is_some_and(|seat| seat.owner.is_some())
    }

    /// True exactly when nobody is there.
    pub fn is_empty(&self, place: u32) -> bool {
        self.seats.get(place as usize).is_none_or(|seat| seat.owner.is_none())
    }

    /// Who is there.
    pub fn owner(&self, place: u32) -> &Owner {
        let owner = self.seats[place as usize].owner.as_ref();
        owner.unwrap_or_else(|| panic!("{} {place} is empty", self.what))
    }

    /// An operation has completed for good.
    pub fn arrive(&mut self, place: u32) {
        let seat = &mut self.seats[place as usize];
        assert!(seat.in_flight > 0, "{} {place} had nothing in flight", self.what);
        seat.in_flight -= 1;
    }
}

struct Seat<Owner> {
    owner: Option<Owner>,
    in_flight: u8,
}

const _: () = assert!(size_of::<Seat<std::os::fd::OwnedFd>>() == 8, "a descriptor and a count");
const _: () = assert!(size_of::<Seat<()>>() == 2, "a sleeper in the vault costs two bytes");
