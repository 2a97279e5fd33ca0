//! Sockets that systemd has bound for us (socket activation, sd_listen_fds(3)).
//!
//! They are told apart by their addresses, so that a unit needs no names: what is bound to the
//! path or the address that the configuration names is used, and the rest is complained of.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

/// Those that nobody has taken yet.
#[derive(Default)]
pub struct Given {
    unix: Vec<UnixListener>,
    tcp: Vec<TcpListener>,
}

impl Given {
    /// What came with this process; empty without systemd.
    pub fn from_env() -> Self {
        let mut given = Self::default();
        let mut all = ListenFd::from_env();
        for index in 0..all.len() {
            if let Ok(Some(listener)) = all.take_unix_listener(index) {
                given.unix.push(listener);
            } else if let Ok(Some(listener)) = all.take_tcp_listener(index) {
                given.tcp.push(listener);
            } else {
                tracing::warn!("socket {index} of systemd is not one to listen on");
            }
        }
        given
    }

    /// The one that is bound to this path.
    pub fn take_unix(&mut self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let is_it = |listener: &UnixListener| {
            listener.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let found = self.unix.iter().position(is_it).map(|at| self.unix.swap_remove(at));
        if let Some(listener) = &found {
            listener.set_nonblocking(true)?;
        }
        Ok(found.map(OwnedFd::from))
    }

    /// The one that is bound to this address.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|it| it == address);
        self.tcp.iter().position(is_it).map(|at| self.tcp.swap_remove(at))
    }

    /// Says what nobody wanted.
    pub fn complain(&self) {
        for listener in &self.unix {
            tracing::warn!("systemd gave a socket that nothing here uses: {listener:?}");
        }
        for listener in &self.tcp {
            tracing::warn!("systemd gave a socket that nothing here uses: {listener:?}");
        }
    }
}
