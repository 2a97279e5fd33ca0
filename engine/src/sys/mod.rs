//! The kernel's side of the engine: the only rooms of this crate with `unsafe` code.
//!
//! Everything here is mechanism. What is done to whom and when is the core's business; what
//! comes in and goes out are the plain values of [`crate::ring`].

pub mod dense;
pub mod handle;
pub mod items;
pub mod lasting;
pub mod main_ring;
pub mod map;
pub mod talks;
pub mod uring;
pub mod vault;

mod buffers;
mod clients;
mod conns;
mod messages;
mod own;
mod passed;
mod seats;
mod setup;
mod shared;
mod sqe;
mod texts;
mod window;

pub use own::inherited;
pub use setup::{SUBMISSIONS, trial};
