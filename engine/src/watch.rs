//! Mailbox watches: which sleepers wait for which directories.
//!
//! A notify descriptor is *adopted* by the watcher (see `sys/watcher.rs`): its directories go on
//! one shared inotify instance and the descriptor is closed. What comes back is [`Adopted`]; what
//! the kernel then says of the shared instance is read here.

/// A notify descriptor names at most this many directories or files (Maildir: new and cur).
/// One with more is kept and polled instead.
pub const WATCHES_PER_NOTIFY_MAX: usize = 4;

/// What the core asks of the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchOrder {
    /// Adopt the notify descriptor `passed` for `slot`.
    Adopt { passed: crate::ring::Passed, slot: u32, generation: u32, late_change_ms: u32 },
    /// Nobody sleeps on `wd` any more: take back `adoptions` of its adoptions.
    Release { wd: i32, adoptions: u32 },
    /// Remove the watches of the descriptor kept for `slot` by hand and close it later.
    Retire { slot: u32 },
}

/// The watcher's reply to [`WatchOrder::Adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub slot: u32,
    pub generation: u32,
    pub outcome: Adoption,
}

/// How an adoption ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// On the shared instance under these watch numbers (-1: none); the descriptor is closed.
    /// `changed`: something happened between the worker's last look and now.
    Shared { wds: [i32; WATCHES_PER_NOTIFY_MAX], changed: bool },
    /// Could not be adopted (no permission, foreign filesystem, not an inotify instance): the
    /// descriptor has been seated as the slot's notify descriptor and wants to be polled.
    Kept,
}

/// A request of the engine with the descriptor it is about, as the watcher thread takes it.
pub type WatchJob<D> = (WatchOrder, Option<D>);
