//! What is done without a request of the engine's own ring.

use std::os::fd::AsRawFd;

use nix::sys::socket::{Shutdown, shutdown};

use crate::ring::Op;

use super::KernelRing;

impl KernelRing {
    /// What needs no kernel request: done on the spot. Closing takes as long here as it would in
    /// the ring, and an owned descriptor cannot leak on the way.
    pub(super) fn at_once(&mut self, op: &Op) -> bool {
        match *op {
            Op::SeatConn { passed, conn } => self.conns.seat(conn, self.lobby.leave(passed)),
            Op::SeatClient { passed, slot } => {
                let client = self.lobby.leave(passed);
                self.seat(slot, client);
            }
            Op::HoldConn { conn } => self.conns.hold(conn),
            Op::ClaimConn { conn } => self.conns.claim(conn),
            Op::ReleaseConn { conn } => self.conns.release(conn),
            Op::ClaimClient { slot } => self.clients.claim(slot),
            Op::ReleaseClient { slot } => self.clients.release(slot),
            Op::RecvConn { token, conn } if self.conns.is_empty(conn) => {
                self.done.push(token, -libc::EBADF);
            }
            Op::Drop { passed } => drop(self.lobby.leave(passed)),
            Op::AddItem { token, slot } => {
                let added = self.clients.lend(slot, |client| self.items.add(client, token));
                if let Err(errno) = added {
                    self.done.push(token, -(errno as i32));
                }
            }
            Op::DeleteItem { slot } => {
                self.clients.lend(slot, |client| self.items.delete(client, slot));
            }
            Op::CloseConn { token, conn } => {
                self.conns.close(conn);
                self.done.push(token, 0);
            }
            Op::CloseClient { token, slot } => {
                self.clients.close(slot);
                self.done.push(token, 0);
            }
            Op::ShutClient { token, slot } => {
                let client = self.clients.unseat(slot);
                // Fails only when the peer has ended the connection: nobody can revive that.
                let result = shutdown(client.as_raw_fd(), Shutdown::Both);
                self.clients.release(slot);
                self.done.push(token, result.map_or_else(|errno| -(errno as i32), |()| 0));
            }
            _ => return false,
        }
        true
    }
}
