//! Orders of the operator, as the control socket, the signals and anvil give them.
//!
//! They enter the core like completions do and are answered through [`Answer`]. Walks over all
//! sleepers are paged, so that an order never holds the engine for longer than a batch.

use crate::limits::Knobs;

/// An order. `ticket` comes back with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Cards of the sleepers in slots from `cursor` on, one page.
    Who { ticket: u64, cursor: u32, user: Option<Box<[u8]>> },
    /// BYE to each sleeper of `user` (and session, if given) in slots from `cursor` on, one page.
    Kick { ticket: u64, cursor: u32, user: Box<[u8]>, session: Option<Box<[u8]>> },
    /// New values for what may change while the engine runs.
    Reload { ticket: u64, knobs: Knobs },
    /// The hibernate socket was bound anew: end the old accept, arm the new one.
    Relisten { ticket: u64 },
    /// BYE to everybody, refuse newcomers, then end.
    Stop { ticket: u64 },
}

/// What an order brought. The text lies in the arena of the actions: a page of cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub ticket: u64,
    /// Where the next page begins; `None` when the walk is done.
    pub cursor: Option<u32>,
    /// Sleepers shown or kicked on this page.
    pub count: u32,
    /// For [`Command::Who`]: one card a line (see `report.rs`).
    pub text: crate::ring::Span,
}

/// Slots that one page looks at.
pub const PAGE_SLOTS: u32 = 4096;
/// Sleepers that one page of [`Command::Who`] shows at most.
pub const PAGE_CARDS: u32 = 64;
