//! Which image of an engine it is, and why it cannot be taken over.

use super::{FORMAT, FORMAT_BEFORE};

/// Which image of an engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Records = 1,
    Sends = 2,
    Blocks = 3,
    Shelf = 4,
    Models = 5,
    Mailboxes = 6,
}

/// Memory that cannot be taken over as a whole (host: somebody gave us what is not ours, or an
/// older binary was started over the memory of a newer one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("{0:?}: this is not the memory of a torpor engine")]
    Magic(Kind),
    #[error("{0:?}: its format is {1}, and this program reads {FORMAT_BEFORE} to {FORMAT}")]
    Format(Kind, u32),
    #[error("{0:?}: another size than its head, or than its limits ask for")]
    Size(Kind),
}
