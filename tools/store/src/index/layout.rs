//! The bytes of an index file: a header, then frames. Little-endian, no padding.

use zerocopy::byteorder::little_endian::{I64, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Flags;
use crate::file_name::Letters;

/// The first 64 bytes; never changed while the file lives.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    pub magic: [u8; 8],
    pub version: U32,
    pub uid_validity: U32,
    /// Bytes of the file when it was written anew, and the messages in it then.
    pub base_bytes: U64,
    pub base_messages: U32,
    pub reserved: [u8; 32],
    /// Of all before.
    pub crc: U32,
}

/// Before each frame. It has a checksum of its own, so that a length can be believed: a frame
/// that ends behind the file was cut off, anything else that does not fit is damage.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// Bytes of the payload.
    pub length: U32,
    pub kind: u8,
    pub reserved: [u8; 3],
    pub payload_crc: U32,
    /// Of the twelve bytes before.
    pub crc: U32,
}

/// What the entries of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `Arrived` and the base of the file's name, one after the other.
    Arrived = 1,
    Changed = 2,
    Expunged = 3,
    /// The name of the next keyword, all of the payload.
    Keyword = 4,
    /// One `Counters`.
    Counters = 5,
    /// One `Scanned`.
    Scanned = 6,
    /// One `Booted`.
    Booted = 7,
}

impl Kind {
    pub fn of(byte: u8) -> Option<Kind> {
        use Kind::{Arrived, Booted, Changed, Counters, Expunged, Keyword, Scanned};
        let all = [Arrived, Changed, Expunged, Keyword, Counters, Scanned, Booted];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A message as it is from now on.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Changed {
    pub uid: U32,
    letters: U32,
    flags: U64,
    pub modseq: U64,
}

impl Changed {
    pub fn new(uid: u32, modseq: u64, flags: Flags, letters: Letters) -> Changed {
        let (letters, flags) = (letters.0.into(), flags.0.into());
        Changed { uid: uid.into(), letters, flags, modseq: modseq.into() }
    }

    pub fn flags(&self) -> Flags {
        Flags(self.flags.get())
    }

    pub fn letters(&self) -> Letters {
        Letters(self.letters.get())
    }
}

/// A new message; `name_bytes` of its base follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Arrived {
    pub state: Changed,
    pub name_bytes: u8,
}

/// UIDs `first` to `last` are gone; those between that never were may be among them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Expunged {
    pub first: U32,
    pub last: U32,
    pub modseq: U64,
}

/// Lower bounds of what the messages alone would not tell.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Counters {
    pub uid_next: U32,
    /// The first UID that no session has claimed as recent.
    pub recent_next: U32,
    pub highest_modseq: U64,
}

/// All files were taken in when new/ and cur/ had these mtimes, in ns since the epoch.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Scanned {
    pub new_ns: I64,
    pub cur_ns: I64,
}

/// What follows was written under this boot of the machine.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Booted {
    pub id: U128,
}

pub const MAGIC: [u8; 8] = *b"torporIX";
pub const VERSION: u32 = 1;
/// A reader needs a buffer of this size.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Where the base of a message's name lies behind the start of its entry.
pub const NAME_AT: usize = size_of::<Arrived>();

const _: () = {
    assert!(size_of::<Header>() == 64);
    assert!(size_of::<FrameHeader>() == 16);
    assert!(size_of::<Changed>() == 24 && size_of::<Arrived>() == 25);
    assert!(size_of::<Expunged>() == 16);
    assert!(size_of::<Counters>() == 16 && size_of::<Scanned>() == 16);
    assert!(size_of::<Booted>() == 16);
};
