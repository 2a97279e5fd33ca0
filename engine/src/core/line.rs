//! A hibernate line on its way in. Nearly every one comes in one piece and is offered from where
//! it lies; the pieces of others are collected in a chain of the cold store.

use super::Core;
use super::conn::Stage;
use crate::action::Actions;
use crate::cold::BLOCK_BYTES;
use crate::limits::COLD_BLOCKS_PER_SLOT;
use crate::record::NIL;

impl Core {
    /// Bytes of the hibernate line; the piece ends at its LF, if that has come.
    pub(super) fn feed_line(&mut self, conn: usize, piece: &[u8], out: &mut Actions) {
        assert_eq!(self.conns[conn].stage, Stage::Line);
        assert_eq!(self.conns[conn].slot, NIL);
        let chain = self.conns[conn].chain;
        let before = if chain == NIL { 0 } else { self.cold.line_bytes(chain) };
        if before + piece.len() > self.limits.line_bytes_max as usize {
            return self.refuse(conn, b"Line is longer than line_bytes_max", out);
        }
        let is_last = piece.ends_with(b"\n");
        let in_one_piece = is_last && chain == NIL;
        if !self.cold_has_room(piece.len()) || !(in_one_piece || self.collect(conn, piece)) {
            return self.refuse_full(conn, b"full: cold_blocks_max is reached", out);
        }
        match is_last {
            true if in_one_piece => self.offer(conn, piece, out),
            true => self.offer_collected(conn, out),
            false => {}
        }
    }

    /// Adds to the line in the connection's chain. `false` when the store is full.
    fn collect(&mut self, conn: usize, piece: &[u8]) -> bool {
        if self.conns[conn].chain == NIL {
            let Some(chain) = self.cold.open() else { return false };
            self.conns[conn].chain = chain;
        }
        self.cold.append_line(self.conns[conn].chain, piece)
    }

    /// The last piece of a line has come.
    fn offer_collected(&mut self, conn: usize, out: &mut Actions) {
        let mut line = core::mem::take(&mut self.line);
        line.clear();
        match self.cold.read_line(self.conns[conn].chain, &mut line) {
            true => self.offer(conn, &line, out),
            false => self.refuse(conn, DAMAGED, out),
        }
        self.line = line;
    }

    /// Refusing is always safe; dropping never is.
    pub(super) fn refuse_full(&mut self, conn: usize, reason: &[u8], out: &mut Actions) {
        assert_eq!(self.conns[conn].slot, NIL, "there was room");
        assert!(reason.starts_with(b"full"));
        self.counters.refused_full += 1;
        self.refuse(conn, reason, out);
    }

    /// Every client may come to need blocks of its own for input and output; what is promised to
    /// those who are here is not given to newcomers.
    pub(super) fn cold_has_room(&self, bytes: usize) -> bool {
        assert!(bytes <= self.limits.line_bytes_max as usize);
        assert!(self.cold.used() <= self.limits.cold_blocks_max);
        let promised = (self.slots.used() as usize + 1) * COLD_BLOCKS_PER_SLOT as usize;
        self.cold.has_room(bytes + promised * BLOCK_BYTES)
    }
}

const DAMAGED: &[u8] = b"The line was damaged in the cold store";
