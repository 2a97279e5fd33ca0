//! The handoff of torpor.
