//! The control socket: `torpor who`, `kick` and `stats`, and what they say.
//!
//! One JSON object a line, both ways (docs/OPERATIONS.md): a request, then its replies, the last
//! of which is `done` or `error`.

mod ask;
mod others;
mod serve;
mod table;
mod types;

pub use ask::{Asked, Console, kick, stats, who};
pub use others::{Others, engine_path};
pub use serve::{Service, converse, named, open, open_to_others, place, say};
pub use types::{Client, Done, EngineStats, Reply, Request, Stats};
