//! What the acts of the demo are played on: servers, mailboxes, and a view behind the scenes.

mod dovecot;
mod own;

use std::io;
use std::path::PathBuf;

use crate::config::control_path;
use crate::control::{Console, Request, Stats};
use crate::dovecot::{Endpoint, Mailbox};

pub use dovecot::DovecotStage;
pub use own::OwnStage;

/// A torpor and the workers around it. Dropping it ends both and removes the folder.
pub trait Stage {
    /// Where clients connect to.
    fn endpoint(&self) -> Endpoint;

    /// The INBOX of a user.
    fn mailbox(&self, user: &str) -> Mailbox;

    /// The processes of clients that are awake.
    fn worker_pids(&self) -> Vec<i32>;

    /// The processes that hold those who sleep.
    fn torpor_pids(&self) -> Vec<i32>;

    /// The folder of the sockets.
    fn base_dir(&self) -> PathBuf;

    /// Clients that may be awake at once on this host.
    fn awake_max(&self) -> u32;

    /// What may keep clients awake, if something does.
    fn hint(&self) -> &'static str;

    /// How the reader's own mail client gets in; its user is the one after the last client.
    fn invitation(&self) -> String;

    /// State of the engine.
    ///
    /// # Errors
    /// It does not answer.
    fn stats(&self) -> io::Result<Stats> {
        let asked = Console::connect(&control_path(&self.base_dir()))?.ask(&Request::Stats {})?;
        asked.stats.ok_or_else(|| io::Error::other("torpor sent no statistics"))
    }

    /// One of its counters.
    ///
    /// # Errors
    /// As [`Stage::stats`].
    fn counter(&self, name: &str) -> io::Result<u64> {
        Ok(self.stats()?.counters.get(name).copied().unwrap_or_default())
    }
}

/// Seconds of idling after which workers hibernate their clients.
pub const HIBERNATE_SECS: u32 = 2;

/// An error where so many clients would not fit below RLIMIT_NOFILE; each takes `each` of both
/// sides' descriptors.
fn check_files(clients: u32, each: u64, files_max: u64) -> io::Result<()> {
    if u64::from(clients) * each + 500 > files_max {
        let text = format!("--clients {clients}: too many for RLIMIT_NOFILE = {files_max}");
        return Err(io::Error::other(text));
    }
    Ok(())
}
