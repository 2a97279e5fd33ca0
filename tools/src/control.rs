//! The control socket: `torpor who`, `kick` and `stats`, and what they say.
//!
//! One JSON object a line, both ways (docs/OPERATIONS.md): a request, then its replies, the last
//! of which is `done` or `error`.

mod ask;
mod serve;
mod table;
mod types;

pub use ask::{Asked, Console, kick, stats, who};
pub use serve::{Service, converse, named, open, say};
pub use types::{Client, Done, Reply, Request, Stats};
