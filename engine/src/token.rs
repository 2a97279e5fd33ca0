//! The 64 bits that ride with every operation and come back with its completion.
//!
//! `kind | generation | index`: the kind says which table the index points into, the generation
//! says which tenant of that place is meant. A completion whose generation is not current speaks
//! of somebody who has left; the core never lets that happen (it joins every operation before it
//! lets go of a place) and asserts it.

use core::fmt;

/// What an operation was about, and so which table its index points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Multishot accept on the hibernate socket.
    Accept = 1,
    /// Multishot read of the shared inotify instance.
    Watch = 2,
    /// Multishot read of the eventfd that the other threads ring.
    Doorbell = 3,
    /// recvmsg on a hibernate connection.
    ConnRecv = 4,
    /// Send on a hibernate connection.
    ConnSend = 5,
    /// recv of a sleeping client.
    ClientRecv = 6,
    /// Send to a sleeping client. Its index is the place of the send, not the slot.
    ClientSend = 7,
    /// Poll of a notify descriptor that could not be adopted.
    Notify = 8,
    /// Cancel of a client's recv. A cancel has the generation and index of its target.
    CancelRecv = 9,
    /// Cancel of a notify poll.
    CancelNotify = 11,
    /// Cancel of a recvmsg on a hibernate connection.
    CancelConn = 12,
    /// Cancel of the accept.
    CancelAccept = 13,
    /// One look at the epoll set of the sleepers.
    Items = 14,
    /// A sleeper's item in that set.
    Item = 15,
}

/// `kind (8) | generation (24) | index (32)`, as the kernel's `user_data`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// Packs the three; the generation must fit [`GENERATION_MASK`].
    pub fn new(kind: Kind, generation: u32, index: u32) -> Self {
        assert!(generation <= GENERATION_MASK, "generation {generation} exceeds 24 bits");
        Self((kind as u64) << 56 | u64::from(generation) << 32 | u64::from(index))
    }

    /// Back from the kernel. `None` when no operation of ours can have carried these bits.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let token = Self(bits);
        KINDS.iter().any(|kind| *kind as u64 == bits >> 56).then_some(token)
    }

    /// The bits for the kernel's `user_data`.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Which table the index points into.
    pub fn kind(self) -> Kind {
        let code = (self.0 >> 56) as u8;
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == code);
        kind.expect("a token is only made from a known kind")
    }

    /// The tenant's generation, 24 bits.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MASK
    }

    /// The place in the table that [`Token::kind`] names.
    pub fn index(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}.{}", self.kind(), self.index(), self.generation())
    }
}

/// Generations wrap here. A place would have to be let and left 16,777,216 times while one
/// operation on it is in flight for two tenants to be confused; the join makes even that moot.
pub const GENERATION_MASK: u32 = 0xFF_FFFF;

const KINDS: [Kind; 14] = [
    Kind::Accept,
    Kind::Watch,
    Kind::Doorbell,
    Kind::ConnRecv,
    Kind::ConnSend,
    Kind::ClientRecv,
    Kind::ClientSend,
    Kind::Notify,
    Kind::CancelRecv,
    Kind::CancelNotify,
    Kind::CancelConn,
    Kind::CancelAccept,
    Kind::Items,
    Kind::Item,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_survives_the_packing() {
        for kind in KINDS {
            for generation in [0, 1, 0x7F_FFFF, GENERATION_MASK] {
                for index in [0, 1, u32::MAX] {
                    let token = Token::new(kind, generation, index);
                    assert_eq!(Token::from_bits(token.bits()), Some(token));
                    assert_eq!((token.kind(), token.generation()), (kind, generation));
                    assert_eq!(token.index(), index);
                }
            }
        }
    }

    #[test]
    fn bits_of_no_kind_are_refused() {
        assert_eq!(Token::from_bits(0), None);
        assert_eq!(Token::from_bits(0xFF << 56), None);
    }
}
