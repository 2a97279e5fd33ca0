//! What we say on a hibernate connection, and how it ends: `+`, `-reason`, close.

use torpor_handoff::line::HIBERNATE_VERSION;

use super::Core;
use super::accept::Accept;
use super::conn::{REASON_BYTES_MAX, Stage, Word, token};
use crate::action::Actions;
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::report::Event as Said;
use crate::ring::{Completion, Op, Span};
use crate::token::{GENERATION_MASK, Kind};

impl Core {
    /// Says a word now, or as soon as the one before is out.
    pub(super) fn say(&mut self, conn: usize, word: Word, out: &mut Actions) {
        assert!(self.conns.contains(conn));
        let entry = &mut self.conns[conn];
        if entry.sending.is_some() {
            let place = entry.owed.iter_mut().find(|place| place.is_none());
            *place.expect("at most two words wait: both +, of a worker in a hurry") = Some(word);
            return;
        }
        entry.sending = Some(word);
        if word == Word::LastPlus {
            // From here on its fate hangs on this connection, whoever of us lives to see it.
            let slot = entry.slot;
            let (place, number) = self.slots[slot].bound();
            self.slots[slot].bind(place, number | LAST_PLUS);
            if !planted(Bug::ConnNotHeld) {
                out.ring(Op::HoldConn { conn: conn as u32 });
            }
        }
        let entry = &self.conns[conn];
        let token = token(entry, Kind::ConnSend, conn);
        let text = match word {
            Word::Version => out.text(HIBERNATE_VERSION),
            Word::Plus | Word::LastPlus => out.text(b"+\n"),
            Word::Minus => minus(&entry.reason[..entry.reason_bytes], out),
        };
        out.ring(Op::SendConn { token, conn: conn as u32, text });
    }

    pub(super) fn conn_sent(&mut self, done: &Completion, out: &mut Actions) {
        let conn = self.conn_of(done);
        let entry = &mut self.conns[conn];
        let word = entry.sending.take().expect("a word was on its way");
        // The words are shorter than any socket buffer: a short send is a broken connection.
        let sent = done.result > 0;
        if word == Word::LastPlus {
            assert_eq!(entry.stage, Stage::Settling);
            match sent {
                true => self.given(conn, out),
                false => self.break_off(conn, b"Connection closed before the last +", out),
            }
            return;
        }
        if entry.closing {
            self.try_close(conn, out);
        } else if sent {
            self.say_next(conn, out);
        } else if entry.owed.contains(&Some(Word::LastPlus)) {
            // It waited behind this word, and will never be said.
            self.break_off(conn, b"Connection closed before the last +", out);
        } else {
            self.conn_ended(conn, out);
        }
    }

    /// Says the word that has waited longest, if there is one.
    fn say_next(&mut self, conn: usize, out: &mut Actions) -> bool {
        let entry = &mut self.conns[conn];
        assert!(entry.sending.is_none(), "one word at a time");
        let [first, second] = entry.owed;
        assert!(first.is_some() || second.is_none(), "words wait in order");
        entry.owed = [second, None];
        if let Some(word) = first {
            self.say(conn, word, out);
        }
        first.is_some()
    }

    /// `-reason`, then close. The client stays with its worker.
    pub(super) fn refuse(&mut self, conn: usize, reason: &[u8], out: &mut Actions) {
        let said = Said::Refused(self.conns[conn].peer);
        self.refuse_as(said, conn, reason, out);
    }

    /// The same, reported as `said`.
    pub(super) fn refuse_as(&mut self, said: Said, conn: usize, reason: &[u8], out: &mut Actions) {
        assert!(!reason.is_empty() && !reason.contains(&b'\n'), "a reason is one line");
        let stage = self.conns[conn].stage;
        assert!(matches!(stage, Stage::Hello | Stage::Line | Stage::Notify), "too late to refuse");
        self.counters.refused += 1;
        self.report_text(said, reason, out);
        self.forget_offer(conn, out);
        let entry = &mut self.conns[conn];
        entry.owed = [None; 2];
        entry.reason_bytes = reason.len().min(REASON_BYTES_MAX);
        entry.reason[..entry.reason_bytes].copy_from_slice(&reason[..entry.reason_bytes]);
        self.say(conn, Word::Minus, out);
        self.close(conn, out);
    }

    /// Closes without a word, as the protocol has it for a broken handshake.
    pub(super) fn break_off(&mut self, conn: usize, why: &[u8], out: &mut Actions) {
        assert_ne!(self.conns[conn].stage, Stage::Settled, "the client is ours already");
        assert!(!self.conns[conn].closing);
        if !why.is_empty() {
            self.counters.broken += 1;
            let peer = self.conns[conn].peer;
            self.report_text(Said::Broken(peer), why, out);
        }
        self.forget_offer(conn, out);
        self.conns[conn].owed = [None; 2];
        self.close(conn, out);
    }

    /// Closes once nothing is in flight.
    pub(super) fn close(&mut self, conn: usize, out: &mut Actions) {
        assert!(!self.conns[conn].closing, "closed once");
        let entry = &mut self.conns[conn];
        assert!(entry.slot == NIL && entry.chain == NIL, "closed with a client in hand");
        entry.closing = true;
        for passed in core::mem::take(&mut entry.passed).into_iter().flatten() {
            out.ring(Op::Drop { passed });
        }
        if entry.recv && !entry.recv_cancel {
            entry.recv_cancel = true;
            let target = token(entry, Kind::ConnRecv, conn);
            out.ring(Op::Cancel { token: token(entry, Kind::CancelConn, conn), target });
        }
        self.try_close(conn, out);
    }

    pub(super) fn try_close(&mut self, conn: usize, out: &mut Actions) {
        let entry = &mut self.conns[conn];
        assert!(entry.closing);
        if entry.recv || entry.recv_cancel || entry.sending.is_some() {
            return;
        }
        if self.say_next(conn, out) {
            return;
        }
        let entry = &self.conns[conn];
        assert!(entry.slot == NIL && entry.chain == NIL);
        assert!(entry.passed.iter().all(Option::is_none), "a descriptor would be lost");
        out.ring(Op::CloseConn { conn: conn as u32 });
        self.conns.remove(conn);
    }

    /// Whoever has not handed over yet keeps its client.
    pub(super) fn refuse_all(&mut self, out: &mut Actions) {
        assert_ne!(self.accept, Accept::Armed, "more would come");
        assert!(self.stop.is_some(), "only at the end");
        for conn in 0..self.conns.capacity() {
            let Some(entry) = self.conns.get(conn) else { continue };
            let early = matches!(entry.stage, Stage::Hello | Stage::Line | Stage::Notify);
            if early && !entry.closing {
                self.refuse(conn, b"Server shutting down", out);
            }
        }
    }

    /// Connections that take too long. A worker that does not close after the last `+` is taken
    /// to have done so.
    pub(super) fn sweep_conns(&mut self, out: &mut Actions) {
        assert!(self.conns.len() <= self.limits.conns_max as usize);
        assert!(self.knobs.conn_timeout_ms > 0);
        let late_ms = self.now.mono_ms.saturating_sub(self.knobs.conn_timeout_ms);
        for conn in 0..self.conns.capacity() {
            let Some(entry) = self.conns.get(conn) else { continue };
            if entry.since_ms > late_ms || entry.closing || entry.ended {
                continue;
            }
            let (peer, stage) = (entry.peer, entry.stage);
            match stage {
                Stage::Adopting | Stage::Settling => {}
                Stage::Settled => {
                    self.report_text(Said::Broken(peer), b"conn_timeout_ms after the last +", out);
                    self.conn_ended(conn, out);
                }
                Stage::Hello | Stage::Line | Stage::Notify => {
                    self.refuse(conn, b"conn_timeout_ms passed before the hand-over was done", out);
                }
            }
        }
    }
}

/// In the number that a record is bound to: the last `+` goes out on that connection.
pub(super) const LAST_PLUS: u32 = 1 << 31;

const _: () = assert!(LAST_PLUS > GENERATION_MASK);

/// `-reason LF`.
fn minus(reason: &[u8], out: &mut Actions) -> Span {
    assert!(!reason.is_empty(), "nobody is refused without a reason");
    assert!(reason.len() <= REASON_BYTES_MAX);
    let at = out.text(b"-").at;
    out.text(reason);
    out.text(b"\n");
    Span { at, count: reason.len() as u32 + 2 }
}
