//! The handoff of torpor.

pub mod line;
pub mod message;
mod outcome;
