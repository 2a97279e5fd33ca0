//! The engine's desk: what it says goes out, what it is asked comes in, and it never waits.
//!
//! ```text
//!  engine thread        notes ──► clerk ──► log
//!    EngineDesk  ─────► papers ─► anvil thread
//!                       gauges ─► metrics, stats
//!                ◄───── orders ── control socket, signals, anvil ──► the order's own channel
//! ```
//! Every channel is bounded. What does not fit is dropped and counted.

mod clerk;
mod engine;
mod gauges;
mod note;
mod orders;

pub use clerk::start_clerk;
pub use engine::{DeskEnds, EngineDesk};
pub use gauges::{Gauges, Losses, listed, unlisted};
pub use note::{Note, NotePool};
pub use orders::{Bell, OrderError, Orders, Page, Paper};
