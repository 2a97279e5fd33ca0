//! Hibernate connections: accept, handshake, lines in, `+` or `-reason` out, close.
//!
//! ```text
//! Hello ─VERSION─► Line ─line + client─► Notify ─LF + notify─► Adopting ─► Settling ─► Settled
//!                    └───────── no mailbox selected ──────────────────────────┘ last +  └ EOF
//! ```
//! Until the last `+` is out the worker owns the client and any failure just drops our copy.

use torpor_handoff::line::{HIBERNATE_VERSION, check_version};

use super::{Accept, Core};
use crate::action::Actions;
use crate::limits::CONN_HELLO_BYTES_MAX;
use crate::planted::{Bug, planted};
use crate::record::NIL;
use crate::report::Event as Said;
use crate::ring::{Completion, Op, PASSED_MAX, Passed, Peer, Span};
use crate::token::{GENERATION_MASK, Kind, Token};

/// One connection of an imap worker.
pub(super) struct Conn {
    pub generation: u32,
    pub peer: Peer,
    /// When it came, or when its last `+` went; the timeout counts from here.
    pub since_ms: u64,
    pub stage: Stage,
    /// The client that it has offered or given, or [`NIL`].
    pub slot: u32,
    /// Cold chain of the line so far, or [`NIL`].
    pub chain: u32,
    hello: [u8; CONN_HELLO_BYTES_MAX],
    hello_bytes: usize,
    /// Why it is refused, for [`Word::Minus`].
    reason: [u8; REASON_BYTES_MAX],
    reason_bytes: usize,
    /// Descriptors that came and are not used yet, oldest first.
    pub passed: [Option<Passed>; PASSED_MAX],
    /// True exactly when a recv is in flight.
    recv: bool,
    /// True exactly when its cancel is in flight.
    recv_cancel: bool,
    /// What is being sent.
    sending: Option<Word>,
    /// What is to be sent next.
    owed: Option<Word>,
    /// True exactly when the worker has closed, or said what ends the conversation.
    pub ended: bool,
    /// True exactly when we are about to close.
    closing: bool,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its VERSION line is awaited.
    Hello,
    /// Its hibernate line is awaited.
    Line,
    /// The empty line with the notify descriptor is awaited.
    Notify,
    /// The watcher is adopting the notify descriptor.
    Adopting,
    /// The last `+` is owed or on its way.
    Settling,
    /// The last `+` is out; the close of the worker is awaited.
    Settled,
}

/// What we say on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Version,
    /// Go on with the notify descriptor.
    Plus,
    /// The client is ours.
    LastPlus,
    /// It is not, and here is why. Nothing follows.
    Minus,
}

impl Core {
    pub(super) fn arm_accept(&mut self, out: &mut Actions) {
        assert_ne!(self.accept, Accept::Armed, "two accepts take each other's connections");
        assert!(self.stop.is_none(), "nobody is welcome any more");
        self.accept = Accept::Armed;
        out.ring(Op::Accept { token: Token::new(Kind::Accept, 0, 0) });
    }

    /// Ends the accept; what comes after depends on the order.
    pub(super) fn end_accept(&mut self, out: &mut Actions) {
        match self.accept {
            Accept::Armed => {
                self.accept = Accept::Ending;
                let target = Token::new(Kind::Accept, 0, 0);
                out.ring(Op::Cancel { token: Token::new(Kind::CancelAccept, 0, 0), target });
            }
            Accept::Later(_) if self.stop.is_some() => self.accept = Accept::Off,
            Accept::Later(_) | Accept::Ending | Accept::Off => {}
        }
    }

    pub(super) fn accepted(&mut self, completion: &Completion, out: &mut Actions) {
        assert!(matches!(self.accept, Accept::Armed | Accept::Ending));
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
    fn welcome(&mut self, passed: Passed, peer: Peer, out: &mut Actions) {
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
        self.conn_generation = (self.conn_generation + 1) & GENERATION_MASK;
        let conn = self.conns.insert(Conn {
            generation: self.conn_generation,
            peer,
            since_ms: self.now.mono_ms,
            stage: Stage::Hello,
            slot: NIL,
            chain: NIL,
            hello: [0; CONN_HELLO_BYTES_MAX],
            hello_bytes: 0,
            reason: [0; REASON_BYTES_MAX],
            reason_bytes: 0,
            passed: [None; PASSED_MAX],
            recv: false,
            recv_cancel: false,
            sending: None,
            owed: None,
            ended: false,
            closing: false,
        });
        assert!(conn < self.limits.conns_max as usize, "the ring has no such place");
        out.ring(Op::SeatConn { passed, conn: conn as u32 });
        self.say(conn, Word::Version, out);
        self.arm_conn(conn, out);
    }

    fn arm_conn(&mut self, conn: usize, out: &mut Actions) {
        let entry = &mut self.conns[conn];
        if entry.recv || entry.ended || entry.closing {
            return;
        }
        assert!(!entry.recv_cancel, "a cancel would meet the next recv");
        entry.recv = true;
        out.ring(Op::RecvConn { token: token(entry, Kind::ConnRecv, conn), conn: conn as u32 });
    }

    pub(super) fn conn_received(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        let conn = self.conn_of(done);
        let entry = &mut self.conns[conn];
        assert!(entry.recv && !done.more, "one recvmsg at a time");
        entry.recv = false;
        let mut surplus = done.passed_lost;
        for passed in done.passed.into_iter().flatten() {
            match entry.passed.iter_mut().find(|place| place.is_none()) {
                Some(place) if !entry.closing => *place = Some(passed),
                _ => {
                    surplus = true;
                    out.ring(Op::Drop { passed });
                }
            }
        }
        if entry.closing {
            self.try_close(conn, out);
        } else if surplus {
            self.surplus(conn, out);
        } else if done.result > 0 {
            self.feed_conn(conn, done.bytes.of(bytes), out);
            self.rearm_conn(conn, out);
        } else if matches!(-done.result, libc::EINTR | libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)
        {
            self.arm_conn(conn, out);
        } else {
            self.conn_ended(conn, out);
        }
    }

    /// More descriptors than the line allows, or some were lost on the way.
    fn surplus(&mut self, conn: usize, out: &mut Actions) {
        assert!(!self.conns[conn].closing && !self.conns[conn].recv);
        match self.conns[conn].stage {
            Stage::Hello | Stage::Line | Stage::Notify => {
                self.refuse(conn, b"More descriptors received than the line allows", out);
            }
            Stage::Adopting | Stage::Settling | Stage::Settled => self.conn_ended(conn, out),
        }
    }

    /// Arms again, if the bytes just handled left something to wait for.
    fn rearm_conn(&mut self, conn: usize, out: &mut Actions) {
        if self.conns.contains(conn) {
            self.arm_conn(conn, out);
        }
    }

    fn feed_conn(&mut self, conn: usize, mut bytes: &[u8], out: &mut Actions) {
        while !bytes.is_empty() && self.conns.contains(conn) {
            let entry = &mut self.conns[conn];
            if entry.closing || entry.ended {
                return;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at(end);
            bytes = rest;
            match entry.stage {
                Stage::Hello => self.feed_hello(conn, piece, out),
                Stage::Line => self.feed_line(conn, piece, out),
                Stage::Notify => self.feed_notify(conn, piece, out),
                Stage::Adopting | Stage::Settling | Stage::Settled => {
                    let peer = entry.peer;
                    self.report_text(Said::Broken(peer), b"Received unexpected line", out);
                    self.conn_ended(conn, out);
                }
            }
        }
    }

    fn feed_hello(&mut self, conn: usize, piece: &[u8], out: &mut Actions) {
        let entry = &mut self.conns[conn];
        assert!(entry.slot == NIL && entry.chain == NIL, "nobody is offered before VERSION");
        assert!(!piece.is_empty());
        let (from, to) = (entry.hello_bytes, entry.hello_bytes + piece.len());
        if to > CONN_HELLO_BYTES_MAX {
            self.break_off(conn, b"VERSION line expected, something longer received", out);
            return;
        }
        entry.hello[from..to].copy_from_slice(piece);
        entry.hello_bytes = to;
        let Some(line) = entry.hello[..to].strip_suffix(b"\n") else { return };
        match check_version(line.strip_suffix(b"\r").unwrap_or(line), "imap-hibernate") {
            Ok(()) => entry.stage = Stage::Line,
            Err(why) => {
                let text = self.write_text(format_args!("{why}"));
                self.break_off(conn, &text, out);
                self.text = text;
            }
        }
    }

    /// The worker has closed, or the connection is of no use any more.
    pub(super) fn conn_ended(&mut self, conn: usize, out: &mut Actions) {
        let entry = &mut self.conns[conn];
        assert!(!entry.closing, "it ended already");
        assert_eq!(entry.slot == NIL, matches!(entry.stage, Stage::Hello | Stage::Line));
        entry.ended = true;
        match entry.stage {
            Stage::Settled => self.settle(conn, out),
            // The watcher's reply, or the fate of the last `+`, decides.
            Stage::Adopting | Stage::Settling => {}
            Stage::Hello | Stage::Line | Stage::Notify => {
                let silent = entry.hello_bytes == 0;
                let why: &[u8] = if silent { b"" } else { b"Connection closed early" };
                self.break_off(conn, why, out);
            }
        }
    }

    /// Says a word now, or as soon as the one before is out.
    pub(super) fn say(&mut self, conn: usize, word: Word, out: &mut Actions) {
        let entry = &mut self.conns[conn];
        if entry.sending.is_some() {
            assert!(entry.owed.is_none(), "at most one word waits");
            entry.owed = Some(word);
            return;
        }
        entry.sending = Some(word);
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
        } else if !sent {
            self.conn_ended(conn, out);
        } else if let Some(word) = entry.owed.take() {
            self.say(conn, word, out);
        }
    }

    pub(super) fn conn_cancelled(&mut self, done: &Completion, out: &mut Actions) {
        let conn = self.conn_of(done);
        let entry = &mut self.conns[conn];
        assert!(entry.recv_cancel && entry.closing);
        assert!(!done.more, "a cancel completes once");
        entry.recv_cancel = false;
        self.try_close(conn, out);
    }

    /// `-reason`, then close. The client stays with its worker.
    pub(super) fn refuse(&mut self, conn: usize, reason: &[u8], out: &mut Actions) {
        assert!(!reason.is_empty() && !reason.contains(&b'\n'), "a reason is one line");
        let stage = self.conns[conn].stage;
        assert!(matches!(stage, Stage::Hello | Stage::Line | Stage::Notify), "too late to refuse");
        self.counters.refused += 1;
        let peer = self.conns[conn].peer;
        self.report_text(Said::Refused(peer), reason, out);
        self.forget_offer(conn, out);
        let entry = &mut self.conns[conn];
        entry.owed = None;
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
        self.conns[conn].owed = None;
        self.close(conn, out);
    }

    /// Closes once nothing is in flight.
    pub(super) fn close(&mut self, conn: usize, out: &mut Actions) {
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

    fn try_close(&mut self, conn: usize, out: &mut Actions) {
        let entry = &mut self.conns[conn];
        assert!(entry.closing);
        if entry.recv || entry.recv_cancel || entry.sending.is_some() {
            return;
        }
        if let Some(word) = entry.owed.take() {
            self.say(conn, word, out);
            return;
        }
        assert!(entry.slot == NIL && entry.chain == NIL);
        assert!(entry.passed.iter().all(Option::is_none), "a descriptor would be lost");
        let token = token(entry, Kind::Farewell, conn);
        out.ring(Op::CloseConn { token, conn: conn as u32 });
        self.conns.remove(conn);
    }

    /// Whoever has not handed over yet keeps its client.
    pub(super) fn refuse_all(&mut self, out: &mut Actions) {
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

    fn conn_of(&self, done: &Completion) -> usize {
        let conn = done.token.index() as usize;
        let current = self.conns.get(conn).map(|entry| entry.generation);
        assert_eq!(current, Some(done.token.generation()), "{:?} is stale", done.token);
        conn
    }
}

fn token(entry: &Conn, kind: Kind, conn: usize) -> Token {
    assert!(matches!(kind, Kind::ConnRecv | Kind::ConnSend | Kind::CancelConn | Kind::Farewell));
    Token::new(kind, entry.generation, conn as u32)
}

/// `-reason LF`.
fn minus(reason: &[u8], out: &mut Actions) -> Span {
    assert!(!reason.is_empty(), "nobody is refused without a reason");
    assert!(reason.len() <= REASON_BYTES_MAX);
    let at = out.text(b"-").at;
    out.text(reason);
    out.text(b"\n");
    Span { at, count: reason.len() as u32 + 2 }
}

/// Longest reason that a refusal carries: what the ring keeps for a connection, less `-` and LF.
const REASON_BYTES_MAX: usize = 240;
/// After accept ran out of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 200;
