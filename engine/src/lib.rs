//! The engine of torpor.

pub mod action;
pub mod awake;
pub mod cold;
pub mod command;
pub mod core;
pub mod drive;
pub mod idle;
pub mod keepalive;
pub mod limits;
pub mod mailboxes;
pub mod record;
pub mod report;
pub mod ring;
pub mod slots;
pub mod state;
pub mod token;
pub mod watch;
pub mod wheel;
