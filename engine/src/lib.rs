//! The engine of torpor.

pub mod action;
pub mod command;
pub mod core;
pub mod drive;
pub mod limits;
pub mod report;
pub mod ring;
pub mod token;
pub mod watch;
