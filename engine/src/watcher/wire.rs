//! What an engine and its watcher say to each other: one packet each, a fixed image of its kind.
//!
//! Neither side trusts the other: what is not exactly one of these is nothing at all.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::watch::{MARKS_LOST, WATCHES_PER_NOTIFY_MAX, WatchEvent};

use super::marks::Filesystem;

/// From the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Comes first, with the shared inotify instance, and the marks if there are some; these are
    /// the filesystems that they are on.
    Begin {
        filesystems: Vec<Filesystem>,
    },
    /// Comes with the notify descriptor. Wall clock, microseconds since the epoch.
    Adopt {
        serial: u64,
        since_us: u64,
    },
    Release {
        wd: i32,
    },
    /// Comes with the notify descriptor.
    Retire,
}

/// From the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The descriptor of this order cannot be adopted.
    Kept { serial: u64 },
    /// It is. Of the numbers (-1: none) those are polled that have a bit in `polled`.
    Shared { serial: u64, wds: [i32; WATCHES_PER_NOTIFY_MAX], changed: bool, polled: u32 },
    /// A change that the kernel does not tell.
    News(WatchEvent),
}

impl Order {
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, serial, since_us, wd) = match *self {
            Self::Begin { .. } => (BEGIN, 0, 0, -1),
            Self::Adopt { serial, since_us } => (ADOPT, serial, since_us, -1),
            Self::Release { wd } => (RELEASE, 0, 0, wd),
            Self::Retire => (RETIRE, 0, 0, -1),
        };
        let mut bytes = OrderImage { serial, since_us, kind, wd }.as_bytes().to_vec();
        if let Self::Begin { filesystems } = self {
            bytes.extend_from_slice(filesystems.as_bytes());
        }
        bytes
    }

    /// `None`: it is no order.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (image, rest) = OrderImage::read_from_prefix(bytes).ok()?;
        let OrderImage { serial, since_us, kind, wd } = image;
        if kind == BEGIN {
            let filesystems = <[Filesystem]>::ref_from_bytes(rest).ok()?.to_vec();
            return Some(Self::Begin { filesystems });
        }
        match kind {
            _ if !rest.is_empty() => None,
            ADOPT => Some(Self::Adopt { serial, since_us }),
            RELEASE => Some(Self::Release { wd }),
            RETIRE => Some(Self::Retire),
            _ => None,
        }
    }
}

impl Said {
    pub fn to_bytes(self) -> Vec<u8> {
        let none =
            SaidImage { serial: 0, kind: KEPT, changed: 0, polled: 0, mask: 0, wds: [-1; 4] };
        let image = match self {
            Self::Kept { serial } => SaidImage { serial, ..none },
            Self::Shared { serial, wds, changed, polled } => {
                SaidImage { serial, kind: SHARED, changed: changed.into(), polled, wds, ..none }
            }
            Self::News(WatchEvent { wd, mask }) => {
                SaidImage { kind: NEWS, wds: [wd, -1, -1, -1], mask, ..none }
            }
        };
        image.as_bytes().to_vec()
    }

    /// `None`: it is no reply, or speaks of numbers that cannot be.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let image = SaidImage::read_from_bytes(bytes).ok()?;
        let SaidImage { serial, kind, changed, polled, mask, wds } = image;
        match kind {
            KEPT => Some(Self::Kept { serial }),
            SHARED if wds.iter().all(|wd| *wd >= -1) => {
                Some(Self::Shared { serial, wds, changed: changed != 0, polled })
            }
            NEWS if wds[0] >= 0 || wds[0] == MARKS_LOST => {
                Some(Self::News(WatchEvent { wd: wds[0], mask }))
            }
            _ => None,
        }
    }
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct OrderImage {
    serial: u64,
    since_us: u64,
    kind: u32,
    wd: i32,
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct SaidImage {
    serial: u64,
    kind: u32,
    changed: u32,
    polled: u32,
    mask: u32,
    wds: [i32; WATCHES_PER_NOTIFY_MAX],
}

const BEGIN: u32 = 1;
const ADOPT: u32 = 2;
const RELEASE: u32 = 3;
const RETIRE: u32 = 4;
const KEPT: u32 = 5;
const SHARED: u32 = 6;
const NEWS: u32 = 7;

/// Longer packets are cut, and then are none.
pub const PACKET_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_back_and_nothing_else_does() {
        let filesystems = vec![Filesystem { device: 7 << 40, id: 9, spare: 0 }; 2];
        let orders = [
            Order::Begin { filesystems },
            Order::Begin { filesystems: Vec::new() },
            Order::Adopt { serial: 1 << 40, since_us: 5 },
            Order::Release { wd: 8 },
            Order::Retire,
        ];
        for order in orders {
            let mut bytes = order.to_bytes();
            assert_eq!(Order::from_bytes(&bytes), Some(order));
            assert_eq!(Order::from_bytes(&bytes[..bytes.len() - 1]), None, "cut");
            bytes.push(0);
            assert_eq!(Order::from_bytes(&bytes), None, "more than it is");
        }
        let wds = [3, 1 << 30, -1, -1];
        let said = [
            Said::Kept { serial: 2 },
            Said::Shared { serial: 3, wds, changed: true, polled: 1 },
            Said::News(WatchEvent { wd: 0, mask: 2 }),
            Said::News(WatchEvent { wd: MARKS_LOST, mask: libc::IN_Q_OVERFLOW }),
        ];
        for said in said {
            let bytes = said.to_bytes();
            assert_eq!(Said::from_bytes(&bytes), Some(said));
            assert_eq!(Said::from_bytes(&bytes[1..]), None, "cut");
        }
        let odd = Said::Shared { serial: 3, wds: [3, -2, -1, -1], changed: true, polled: 0 };
        assert_eq!(Said::from_bytes(&odd.to_bytes()), None, "no such number");
        assert_eq!(Said::from_bytes(&Said::News(WatchEvent { wd: -1, mask: 2 }).to_bytes()), None);
    }
}
