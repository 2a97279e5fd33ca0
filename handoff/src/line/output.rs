//! Framing of output to a client whose stream is multiplexed (Dovecot 2.4.0 and later).
//!
//! Only server to client is framed. `03 FE 00 c` switches to channel c (0 = IMAP), `03 FE 01` is
//! one byte 0x03; everything else is verbatim.

/// Pushes one write of `payload`. `first` is true for the first write of a hibernation, which has
/// to select the IMAP channel.
///
/// A byte 0x03 is escaped where the next byte could turn it into a frame: before 0xFE, and at the
/// end of a write, whose next byte is not known.
pub fn frame(out: &mut Vec<u8>, payload: &[u8], first: bool) {
    let start = out.len();
    if first {
        out.extend_from_slice(&CHANNEL_0);
    }
    for (at, &byte) in payload.iter().enumerate() {
        let next = payload.get(at + 1).copied().unwrap_or(SECOND);
        match (byte, next) {
            (MARK, SECOND) => out.extend_from_slice(&LITERAL),
            _ => out.push(byte),
        }
    }
    assert!(out.len() - start >= payload.len());
    assert!(out.len() - start <= framed_bytes_max(payload.len()));
}

/// The capacity that `frame` may need.
pub const fn framed_bytes_max(payload_bytes: usize) -> usize {
    CHANNEL_0.len() + LITERAL.len() * payload_bytes
}

const MARK: u8 = 0x03;
const SECOND: u8 = 0xFE;
const CHANNEL_0: [u8; 4] = [MARK, SECOND, 0x00, 0x00];
const LITERAL: [u8; 3] = [MARK, SECOND, 0x01];
