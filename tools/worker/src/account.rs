//! Who the client is, and what this process was told about serving it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One logged-in session; it lives on over hibernations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub user: String,
    /// The user's Maildir++ root.
    pub home: PathBuf,
    /// Session id: any text without NUL.
    pub session: String,
    /// Seconds since the epoch of the login.
    pub created: u64,
    pub lip: Option<IpAddr>,
    pub lport: Option<u16>,
    pub rip: Option<IpAddr>,
    pub rport: Option<u16>,
}

/// What holds for every client of this server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the engine's sockets are.
    pub base_dir: PathBuf,
    /// Quiet time in IDLE before a client is handed over; zero = never.
    pub hibernate_after: Duration,
    /// Between keepalives in IDLE; zero = none.
    pub keepalive: Duration,
}
