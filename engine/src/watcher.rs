//! The watcher: calls about mailboxes that may block on a disk, away from the engine.
//!
//! It is a process of its own ([`serve`]), since it may open by handle what nobody else here may,
//! and the engine has a thread that writes to it ([`Post`]). A slow watcher means that hibernations
//! take longer, a failing adoption that the notify descriptor is kept, a dead watcher that the next
//! one is asked: watches and marks lie in instances that the engine reads, and end with those. The
//! shared inotify instance outlives the engine, too.

mod adopter;
mod closer;
mod desk;
mod fdinfo;
mod homes;
mod marks;
mod mounts;
mod opener;
mod orders;
mod outbox;
mod poller;
mod post;
mod postman;
mod remote;
#[cfg(test)]
mod tests;
mod voice;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

pub use desk::serve;
pub use marks::Marks;
pub use post::{Connections, Post, instance};

/// How mailboxes are heard.
#[derive(Clone, Default)]
pub struct Ways {
    /// The folder of all mail homes, if there is one: there, watches are adopted without
    /// privileges.
    pub homes: Option<PathBuf>,
    /// Mailboxes that other hosts write to are looked at once in this time; none: never.
    pub poll: Option<Duration>,
    /// Folders on filesystems that other hosts write to, beside those that are known to be such.
    pub poll_folders: Vec<PathBuf>,
}
