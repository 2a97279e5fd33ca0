//! The handoff of torpor.

pub mod line;
pub mod master;
pub mod message;
mod outcome;
pub mod queue;
pub mod sys;
pub mod window;
