//! The engine of torpor.
