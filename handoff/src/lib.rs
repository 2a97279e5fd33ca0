//! The handoff of torpor.

pub mod line;
pub mod message;
mod outcome;
pub mod queue;
pub mod window;
