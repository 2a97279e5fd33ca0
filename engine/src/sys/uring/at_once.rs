//! What is done without a request of the engine's own ring.

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
            Op::CloseConn { conn } => {
                self.conns.close(conn);
                if self.conns.are_none() {
                    self.memory.messages.give_back();
                }
            }
            Op::CloseClient { slot } => self.clients.close(slot),
            _ => return false,
        }
        true
    }
}
