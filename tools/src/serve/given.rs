//! Sockets that are there before us: bound by systemd for this service (socket activation), kept by
//! it for the keeper before (sd_listen_fds(3)), or accepted from by engines that have outlived one.
//!
//! They are told apart by their addresses, so that a unit needs no names: what is bound to the
//! path or the address that the configuration names is used, and the rest is complained of.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

use super::notify::Stored;

/// Those that nobody has taken yet, the better ones first.
#[derive(Default)]
pub struct Given {
    unix: Vec<GivenUnix>,
    tcp: Vec<(SocketAddr, TcpListener)>,
}

/// One at a path.
pub struct GivenUnix {
    pub listener: UnixListener,
    /// A keeper has bound it, so that it may have lost its path since. Otherwise the path is
    /// systemd's.
    pub is_ours: bool,
}

impl Given {
    /// What came with this process; empty without systemd.
    pub fn from_env() -> Self {
        let mut given = Self::default();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut all = ListenFd::from_env();
        for index in 0..all.len() {
            let is_ours = names.next().is_some_and(Stored::is_name);
            if let Ok(Some(listener)) = all.take_unix_listener(index) {
                given.unix.push(GivenUnix { listener, is_ours });
            } else if let Ok(Some(listener)) = all.take_tcp_listener(index) {
                given.tcp.extend(listener.local_addr().map(|address| (address, listener)));
            } else {
                tracing::warn!("socket {index} of systemd is not one to listen on");
            }
        }
        given
    }

    /// One at a path that an engine or a front accepts from; better than systemd's copy of it.
    pub fn add_unix(&mut self, listener: OwnedFd) {
        self.unix.insert(0, GivenUnix { listener: listener.into(), is_ours: true });
    }

    /// The same of TCP, by the address that it was configured with.
    pub fn add_tcp(&mut self, address: SocketAddr, listener: OwnedFd) {
        self.tcp.insert(0, (address, listener.into()));
    }

    /// All that are bound to this path, or were.
    pub fn take_unix(&mut self, path: &Path) -> io::Result<Vec<GivenUnix>> {
        let is_it = |given: &GivenUnix| {
            given.listener.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let (found, others) = std::mem::take(&mut self.unix).into_iter().partition(is_it);
        self.unix = others;
        found.iter().try_for_each(|given: &GivenUnix| given.listener.set_nonblocking(true))?;
        Ok(found)
    }

    /// The one that is bound to this address.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let found = self.tcp.iter().position(|(bound, _)| *bound == address);
        let (_, listener) = self.tcp.remove(found?);
        // A copy of it is no surprise.
        let actual = listener.local_addr().ok();
        self.tcp.retain(|(_, other)| other.local_addr().ok() != actual);
        Some(listener)
    }

    /// Says what nobody wanted.
    pub fn complain(&self) {
        let unix = self.unix.iter().filter(|given| !given.is_ours).map(|given| &given.listener);
        for listener in unix {
            tracing::warn!("systemd gave a socket that nothing here uses: {listener:?}");
        }
        for (_, listener) in &self.tcp {
            tracing::warn!("systemd gave a socket that nothing here uses: {listener:?}");
        }
    }
}
