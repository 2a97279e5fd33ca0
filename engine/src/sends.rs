//! Sends to clients under way: what was to be written, and how far it got.
//!
//! They lie in memory that outlives the engine, because what a send has achieved is only told by
//! its completion: an heir finds both, and knows what the client has heard and what it has not.

use std::ops::{Index, IndexMut};

use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout};

use crate::image::{Foreign, Image, Kind};
use crate::sys::map::{Map, PAGE_BYTES};

/// The table of sends, each named by its place.
pub struct Sends {
    image: Image,
    /// Places that are free, the lowest last.
    free: Vec<u32>,
    count: u32,
    /// Of them, those that the ring has nothing of.
    stalled: u32,
    /// Places from here on were not written to since [`Sends::give_back`].
    touched: u32,
}

/// A send in flight, or one that waits to finish its switch. The payload is kept, so that the
/// rest of a short write is not lost.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Send {
    pub begun_ms: u64,
    /// The client's slot plus one; 0: nothing is sent from this place.
    tenant: u32,
    payload_bytes: u16,
    kind: u8,
    /// Bytes of the channel switch that have still to go before the payload.
    pub switch_left: u8,
    /// 1 exactly when the ring has none of it: it waits for its next try.
    stalled: u8,
    /// 1 exactly when it counts among those that are slow, and not among those in flight.
    slow: u8,
    payload: [u8; PAYLOAD_BYTES_MAX],
    reserved: [u8; 10],
    /// Checksum of the rest, renewed before each commit.
    seal: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SendKind {
    Keepalive = 0,
    /// The answer to DONE+IDLE.
    Answer = 1,
    Bye = 2,
}

impl Send {
    /// A send that the ring does not have yet.
    pub fn new(slot: u32, kind: SendKind, begun_ms: u64, switch_left: u8, text: &[u8]) -> Self {
        let mut send = Self::new_zeroed();
        send.payload[..text.len()].copy_from_slice(text);
        send.payload_bytes = text.len() as u16;
        (send.tenant, send.kind, send.stalled) = (slot + 1, kind as u8, 1);
        (send.begun_ms, send.switch_left) = (begun_ms, switch_left);
        send
    }

    pub fn slot(&self) -> u32 {
        assert!(self.tenant > 0, "nothing is sent from here");
        self.tenant - 1
    }

    pub fn kind(&self) -> SendKind {
        match self.kind {
            0 => SendKind::Keepalive,
            1 => SendKind::Answer,
            _ => SendKind::Bye,
        }
    }

    pub fn payload(&self) -> &[u8] {
        &self.payload[..usize::from(self.payload_bytes)]
    }

    pub fn is_stalled(&self) -> bool {
        self.stalled != 0
    }

    pub fn is_slow(&self) -> bool {
        self.slow != 0
    }

    pub fn set_slow(&mut self) {
        self.slow = 1;
    }

    /// True exactly when no part of it contradicts another, whoever wrote it.
    fn is_whole(&self) -> bool {
        let flags = self.kind <= SendKind::Bye as u8 && self.stalled <= 1 && self.slow <= 1;
        let bytes = 1..=PAYLOAD_BYTES_MAX;
        self.seal == self.seal_now()
            && flags
            && bytes.contains(&self.payload_bytes.into())
            && self.switch_left <= SWITCH_BYTES as u8
    }

    fn seal_now(&self) -> u32 {
        crc32fast::hash(&self.as_bytes()[..SEAL_AT])
    }
}

impl Sends {
    /// Bytes of an image for so many in flight and those that finish their switch.
    pub fn bytes(sends_in_flight_max: u32) -> usize {
        places(sends_in_flight_max) as usize * SEND_BYTES
    }

    /// No sends, in new memory.
    pub fn new(sends_in_flight_max: u32, map: Map) -> Self {
        let image = Image::new(Kind::Sends, map);
        let places = places(sends_in_flight_max);
        assert!(image.len() >= Self::bytes(sends_in_flight_max), "memory of other limits");
        Self { image, free: (0..places).rev().collect(), count: 0, stalled: 0, touched: 0 }
    }

    /// The sends of an engine that was killed after it had committed this transaction, of those
    /// clients who are still `sending`; what else lies there, or is damaged, is forgotten.
    ///
    /// # Errors
    /// The memory is none of ours.
    pub fn revive(
        sends_in_flight_max: u32,
        map: Map,
        committed: u64,
        mut is_sending: impl FnMut(u32) -> bool,
    ) -> Result<Self, Foreign> {
        let mut image = Image::open(Kind::Sends, map)?;
        image.roll_back(committed);
        if image.len() < Self::bytes(sends_in_flight_max) {
            return Err(Foreign::Size(Kind::Sends));
        }
        let places = places(sends_in_flight_max);
        let mut sends = Self { image, free: Vec::new(), count: 0, stalled: 0, touched: places };
        sends.free.reserve(places as usize);
        for place in (0..places).rev() {
            let send = sends.read(place);
            match send.tenant > 0 && send.is_whole() && is_sending(send.tenant - 1) {
                true => {
                    sends.stalled += u32::from(send.is_stalled());
                    sends.count += 1;
                }
                false => sends.forget(place),
            }
        }
        Ok(sends)
    }

    /// A place for one more; `None` when there is none.
    pub fn insert(&mut self, send: Send) -> Option<u32> {
        assert!(send.tenant > 0 && send.payload_bytes > 0);
        let place = self.free.pop()?;
        self.count += 1;
        self.stalled += u32::from(send.is_stalled());
        self.touched = self.touched.max(place + 1);
        self[place] = send;
        Some(place)
    }

    /// It is over.
    pub fn remove(&mut self, place: u32) -> Send {
        let send = *self.read(place);
        assert!(send.tenant > 0, "nothing is sent from {place}");
        self.count -= 1;
        self.stalled -= u32::from(send.is_stalled());
        self.forget(place);
        send
    }

    /// The ring has nothing of it any more, or all of it.
    pub fn set_stalled(&mut self, place: u32, is: bool) {
        assert_ne!(self[place].is_stalled(), is, "it changes hands");
        self[place].stalled = is.into();
        self.stalled = if is { self.stalled + 1 } else { self.stalled - 1 };
    }

    /// The place of a send to this slot that the ring has nothing of.
    pub fn stalled(&self, slot: u32) -> Option<u32> {
        let mut all = self.iter().take(if self.stalled > 0 { usize::MAX } else { 0 });
        all.find(|(_, send)| send.slot() == slot && send.is_stalled()).map(|(place, _)| place)
    }

    /// What is sent from this place, if anything.
    pub fn get(&self, place: u32) -> Option<&Send> {
        let is_one = (place as usize) < self.image.len() / SEND_BYTES;
        is_one.then(|| self.read(place)).filter(|send| send.tenant > 0)
    }

    /// Those under way, with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Send)> {
        // Low places are let first, so those in use lie in front of a table that is not small.
        let all = (0..).map(|place| (place, self.read(place)));
        all.filter(|(_, send)| send.tenant > 0).take(self.count as usize)
    }

    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True when more memory was written to than most moments need.
    pub fn is_large(&self) -> bool {
        self.touched > KEPT_PLACES
    }

    /// Gives back what a storm has needed, if nothing is sent.
    pub fn give_back(&mut self) {
        if self.is_empty() && self.is_large() {
            let places = self.free.len() as u32;
            self.free.clear();
            self.free.extend((0..places).rev());
            self.image.release(0, self.touched as usize * SEND_BYTES);
            self.touched = 0;
        }
    }

    /// Before a commit: whatever was written in this transaction gets its checksum.
    pub fn seal(&mut self) {
        for index in 0..self.image.written() {
            let Some(at) = self.image.written_at(index) else { continue };
            let place = (at / SEND_BYTES) as u32;
            let seal = self.read(place).seal_now();
            if self.read(place).tenant > 0 && self.read(place).seal != seal {
                self[place].seal = seal;
            }
        }
    }

    /// Begins a transaction, see [`Image`].
    pub fn begin(&mut self, epoch: u64) {
        self.image.begin(epoch);
    }

    /// What it lies in, for an heir.
    pub fn into_map(self) -> Map {
        self.image.into_map()
    }

    fn read(&self, place: u32) -> &Send {
        let at = place as usize * SEND_BYTES;
        Send::ref_from_bytes(&self.image[at..at + SEND_BYTES]).expect("aligned and of its size")
    }

    fn forget(&mut self, place: u32) {
        if self.read(place).tenant > 0 {
            self[place] = Send::new_zeroed();
        }
        self.free.push(place);
    }
}

impl Index<u32> for Sends {
    type Output = Send;
    fn index(&self, place: u32) -> &Send {
        let send = self.read(place);
        assert!(send.tenant > 0, "nothing is sent from {place}");
        send
    }
}

impl IndexMut<u32> for Sends {
    fn index_mut(&mut self, place: u32) -> &mut Send {
        let at = place as usize * SEND_BYTES;
        Send::mut_from_bytes(self.image.edit(at, SEND_BYTES)).expect("aligned and of its size")
    }
}

/// One of those that begin anew may meet all that are slow.
fn places(sends_in_flight_max: u32) -> u32 {
    sends_in_flight_max + STALLED_MAX + 1
}

/// `tag OK Idle completed. CRLF + idling CRLF` with the longest tag.
pub const PAYLOAD_BYTES_MAX: usize = 160;
/// The switch to the IMAP channel, `03 FE 00 00`.
pub const SWITCH_BYTES: usize = 4;
/// Clients that may be waited for at once because they have taken half a switch; who comes to it
/// then is hung up on.
pub const STALLED_MAX: u32 = 64;

/// Four pages of sends are kept.
const KEPT_PLACES: u32 = (4 * PAGE_BYTES / SEND_BYTES) as u32;
const SEND_BYTES: usize = size_of::<Send>();
const SEAL_AT: usize = core::mem::offset_of!(Send, seal);

const _: () = assert!(SEND_BYTES == 192 && SEND_BYTES.is_multiple_of(crate::image::LINE_BYTES));

#[cfg(test)]
mod tests;
