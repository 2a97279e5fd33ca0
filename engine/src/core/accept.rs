//! The hibernate socket: who may come in, and when nobody may.

use super::Core;
use super::conn::{Conn, Word};
use crate::action::Actions;
use crate::planted::{Bug, planted};
use crate::report::Event as Said;
use crate::ring::{Completion, Op, Passed, Peer};
use crate::token::{GENERATION_MASK, Kind, Token};

/// The accept operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    /// In flight.
    Armed,
    /// A cancel of it is in flight; what follows its end depends on the orders since.
    Ending,
    /// To be armed at this time, milliseconds: descriptors had run out.
    Later(u64),
    /// Not wanted any more.
    Off,
}

impl Core {
    pub(super) fn arm_accept(&mut self, out: &mut Actions) {
        assert_ne!(self.accept, Accept::Armed, "two accepts take each other's connections");
        assert!(self.stop.is_none(), "nobody is welcome any more");
        self.accept = Accept::Armed;
        self.accept_generation = (self.accept_generation + 1) & GENERATION_MASK;
        out.ring(Op::Accept { token: self.accept_token(Kind::Accept) });
    }

    /// Ends the accept; what comes after depends on the order.
    pub(super) fn end_accept(&mut self, out: &mut Actions) {
        assert!(self.conns.len() <= self.limits.conns_max as usize);
        match self.accept {
            Accept::Armed => {
                self.accept = Accept::Ending;
                let target = self.accept_token(Kind::Accept);
                out.ring(Op::Cancel { token: self.accept_token(Kind::CancelAccept), target });
            }
            Accept::Later(_) if self.stop.is_some() => self.accept = Accept::Off,
            Accept::Later(_) | Accept::Ending | Accept::Off => {}
        }
    }

    /// An accept of an engine that was killed waits on until its ring is gone, which takes the
    /// kernel a while, and of all accepts at a socket only the first is woken when a worker comes:
    /// that one is told to nobody. Beginning anew finds whoever is there.
    pub(super) fn sweep_accept(&mut self, out: &mut Actions) {
        assert!(self.reaccepts <= REACCEPTS);
        match self.accept {
            Accept::Later(at) if self.now.mono_ms >= at => self.arm_accept(out),
            Accept::Armed if self.reaccepts > 0 => {
                self.reaccepts -= 1;
                self.end_accept(out);
            }
            _ => {}
        }
    }

    fn accept_token(&self, kind: Kind) -> Token {
        assert!(matches!(kind, Kind::Accept | Kind::CancelAccept));
        Token::new(kind, self.accept_generation, 0)
    }

    pub(super) fn accepted(&mut self, completion: &Completion, out: &mut Actions) {
        assert!(completion.passed[1].is_none(), "one connection at a time");
        assert!(matches!(self.accept, Accept::Armed | Accept::Ending));
        assert_eq!(completion.token, self.accept_token(Kind::Accept), "an accept of old");
        if let Some(passed) = completion.passed[0] {
            assert!(completion.result >= 0);
            self.welcome(passed, completion.peer, out);
        } else if completion.result < 0 && completion.result != -libc::ECANCELED {
            self.trouble(-completion.result, out);
        }
        if completion.more {
            return;
        }
        let failed = completion.result < 0 && completion.result != -libc::ECANCELED;
        match (self.stop.is_some(), self.accept) {
            (true, _) => self.accept = Accept::Off,
            (false, Accept::Armed) if failed => {
                self.accept = Accept::Later(self.now.mono_ms + ACCEPT_PAUSE_MS);
            }
            (false, _) => {
                self.accept = Accept::Off;
                if !planted(Bug::AcceptForgotten) {
                    self.arm_accept(out);
                }
            }
        }
    }

    /// A worker has connected. Who may not is sent away before a byte is read.
    pub(super) fn welcome(&mut self, passed: Passed, peer: Peer, out: &mut Actions) {
        assert!(self.conns.len() <= self.limits.conns_max as usize);
        let why: Option<&[u8]> = if self.stop.is_some() {
            Some(b"Server shutting down")
        } else if self.conns.len() == self.limits.conns_max as usize {
            Some(b"conns_max is reached")
        } else if !self.knobs.allows(peer) {
            Some(b"peer is in neither peer_uids nor peer_gids")
        } else {
            None
        };
        if let Some(why) = why {
            self.counters.broken += 1;
            self.report_text(Said::Broken(peer), why, out);
            out.ring(Op::Drop { passed });
            return;
        }
        let mut ledger = self.slots.ledger();
        ledger.conn_generation = (ledger.conn_generation + 1) & GENERATION_MASK;
        self.slots.set_ledger(ledger);
        let now_ms = self.now.mono_ms;
        let conn = self.conns.insert(Conn::new(ledger.conn_generation, peer, now_ms));
        assert!(conn < self.limits.conns_max as usize, "the ring has no such place");
        out.ring(Op::SeatConn { passed, conn: conn as u32 });
        self.say(conn, Word::Version, out);
        self.arm_conn(conn, out);
    }
}

/// Sweeps within which the ring of a dead engine is gone.
pub(super) const REACCEPTS: u32 = 10;
/// After accept ran out of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 200;
