//! A front that has outlived its keeper, as a new keeper finds it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::Uid;

use super::charge::Charge;
use super::given::Given;
use super::living::processes;
use crate::config::Config;
use crate::front::SUBCOMMAND;

/// It goes on with the sockets that it has.
pub struct LivingFront {
    charge: Charge,
    clients: OwnedFd,
    master: OwnedFd,
}

impl LivingFront {
    /// That of `base_dir`. To be looked for when it is certain that no other keeper lives.
    pub fn find(base_dir: &Path) -> Option<Self> {
        let look = |pid| {
            let charge = Charge::found(pid)?;
            let (clients, master) = (charge.descriptor(0)?, charge.descriptor(1)?);
            Ok::<_, io::Error>(Self { charge, clients, master })
        };
        let all = processes(SUBCOMMAND).into_iter().filter_map(|pid| look(pid).ok());
        all.into_iter().find(|front| front.is_of(base_dir).unwrap_or(false))
    }

    /// Its sockets, and the process for the keeper of the front.
    pub fn give(self, config: &Config, given: &mut Given) -> Charge {
        tracing::info!(
            event = "front_taken_over",
            "the front (process {}) has lost its keeper and was taken over",
            self.charge.pid()
        );
        given.add_tcp(config.front.listen, self.clients);
        given.add_unix(self.master);
        self.charge
    }

    /// The process alone.
    pub fn into_charge(self) -> Charge {
        self.charge
    }

    /// Nobody but this user can have listened on its socket.
    fn is_of(&self, base_dir: &Path) -> io::Result<bool> {
        let master = UnixListener::from(self.master.try_clone()?);
        let address = master.local_addr()?;
        let maker = getsockopt(&self.master.as_fd(), PeerCredentials)?;
        let is_ours = maker.uid() == Uid::effective().as_raw();
        Ok(is_ours && address.as_pathname() == Some(&base_dir.join("imap-master")))
    }
}
