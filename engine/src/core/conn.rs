//! Hibernate connections: accept, handshake, lines in, `+` or `-reason` out, close.
//!
//! ```text
//! Hello ─VERSION─► Line ─line + client─► Notify ─LF + notify─► Adopting ─► Settling ─► Settled
//!                    └───────── no mailbox selected ──────────────────────────┘ last +  └ EOF
//! ```
//! Until the last `+` is out the worker owns the client and any failure just drops our copy.

use torpor_handoff::line::check_version;

use super::Core;
use crate::action::Actions;
use crate::limits::CONN_HELLO_BYTES_MAX;
use crate::record::NIL;
use crate::report::Event as Said;
use crate::ring::{CONN_RECV_BYTES, Completion, Op, PASSED_MAX, Passed, Peer};
use crate::token::{Kind, Token};

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
    pub hello: [u8; CONN_HELLO_BYTES_MAX],
    pub hello_bytes: usize,
    /// Why it is refused, for [`Word::Minus`].
    pub reason: [u8; REASON_BYTES_MAX],
    pub reason_bytes: usize,
    /// Descriptors that came and are not used yet, oldest first.
    pub passed: [Option<Passed>; PASSED_MAX],
    /// True exactly when a recv is in flight.
    pub recv: bool,
    /// True exactly when its cancel is in flight.
    pub recv_cancel: bool,
    /// What is being sent.
    pub sending: Option<Word>,
    /// What is to be sent next.
    pub owed: [Option<Word>; 2],
    /// True exactly when the worker has closed, or said what ends the conversation.
    pub ended: bool,
    /// True exactly when we are about to close.
    pub closing: bool,
}

impl Conn {
    /// A connection that has just come; nothing is in flight on it.
    pub fn new(generation: u32, peer: Peer, now_ms: u64) -> Self {
        Self {
            generation,
            peer,
            since_ms: now_ms,
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
            owed: [None; 2],
            ended: false,
            closing: false,
        }
    }
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
    pub(super) fn arm_conn(&mut self, conn: usize, out: &mut Actions) {
        assert!(self.conns.contains(conn));
        let entry = &mut self.conns[conn];
        if entry.recv || entry.ended || entry.closing {
            return;
        }
        assert!(!entry.recv_cancel, "a cancel would meet the next recv");
        entry.recv = true;
        out.ring(Op::RecvConn { token: token(entry, Kind::ConnRecv, conn), conn: conn as u32 });
    }

    pub(super) fn conn_received(&mut self, done: &Completion, bytes: &[u8], out: &mut Actions) {
        assert!(done.result <= CONN_RECV_BYTES as i32);
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
        assert!(conn < self.limits.conns_max as usize);
        if self.conns.contains(conn) {
            self.arm_conn(conn, out);
        }
    }

    fn feed_conn(&mut self, conn: usize, mut bytes: &[u8], out: &mut Actions) {
        assert!(!bytes.is_empty(), "nothing is no news");
        assert!(bytes.len() <= CONN_RECV_BYTES);
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

    pub(super) fn conn_cancelled(&mut self, done: &Completion, out: &mut Actions) {
        let conn = self.conn_of(done);
        let entry = &mut self.conns[conn];
        assert!(entry.recv_cancel && entry.closing);
        assert!(!done.more, "a cancel completes once");
        entry.recv_cancel = false;
        self.try_close(conn, out);
    }

    pub(super) fn conn_of(&self, done: &Completion) -> usize {
        assert!(!matches!(done.token.kind(), Kind::ClientRecv | Kind::ClientSend));
        let conn = done.token.index() as usize;
        let current = self.conns.get(conn).map(|entry| entry.generation);
        assert_eq!(current, Some(done.token.generation()), "{:?} is stale", done.token);
        conn
    }
}

pub(super) fn token(entry: &Conn, kind: Kind, conn: usize) -> Token {
    assert!(matches!(kind, Kind::ConnRecv | Kind::ConnSend | Kind::CancelConn));
    Token::new(kind, entry.generation, conn as u32)
}

/// Longest reason that a refusal carries: what the ring keeps for a connection, less `-` and LF.
pub(super) const REASON_BYTES_MAX: usize = 240;
