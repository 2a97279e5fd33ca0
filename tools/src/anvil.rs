//! Dovecot's anvil: `doveadm who` shows sleepers, `doveadm kick` reaches them.
//!
//! A thread tells anvil who falls asleep and who wakes. It keeps no list: what anvil is told is
//! computed from the event alone, and after anvil's restart everybody is registered anew by a
//! walk over the engine's slots.

mod admin;
mod client;
mod walk;
mod wire;

pub use admin::open as open_admin;
pub use client::start;
