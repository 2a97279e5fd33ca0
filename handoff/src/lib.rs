//! The handoff of torpor.

pub mod message;
