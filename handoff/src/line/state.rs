//! The `state` of a session: opaque, but for CONDSTORE and QRESYNC (RFC 7162).
//!
//! ```text
//! base LF | B mailbox | F CONDSTORE NUL | F QRESYNC NUL | F ... | further blocks
//! ```
//! A worker restores block by block. Since the mailbox comes first, it tells of changes as if no
//! feature were on, and then of each feature as if it had just been switched on
//! (`* OK [HIGHESTMODSEQ n] Highest`; 2.3.19.1 and 2.4.1). With CONDSTORE in front of the mailbox
//! it says nothing that a session that never slept does not. QRESYNC stays where it is: in front,
//! a worker would tell of expunged messages as it should, with VANISHED, but also of none, with a
//! VANISHED that is not followed by a number, and that is no IMAP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What was on while a mailbox was selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Modseq {
    /// Neither, or no mailbox, or a state that we cannot read.
    #[default]
    Off,
    /// A worker leaves MODSEQ out of the flag changes that it tells of at the wake.
    Condstore,
    /// QRESYNC, and CONDSTORE with it: a worker says EXPUNGE for VANISHED at the wake.
    Qresync,
}

/// Reads a `state` of base64; `scratch` is overwritten, and grows to the size of the state.
pub fn modseq(state: &[u8], scratch: &mut Vec<u8>) -> Modseq {
    scratch.clear();
    scratch.resize(state.len(), 0);
    let Ok(count) = STANDARD.decode_slice(state, scratch) else { return Modseq::Off };
    match features(&scratch[..count]) {
        None => Modseq::Off,
        Some((_, behind)) if behind.starts_with(QRESYNC) => Modseq::Qresync,
        Some(_) => Modseq::Condstore,
    }
}

/// Pushes a `state` of base64 in the order that is good for a worker: CONDSTORE before the
/// mailbox. As many bytes as came.
pub(super) fn push_state(out: &mut Vec<u8>, state: &[u8]) {
    let start = out.len();
    out.resize(start + state.len(), 0);
    let text = &mut out[start..];
    match STANDARD.decode_slice(state, text) {
        Ok(count) if move_condstore(&mut text[..count]) => encode_in_place(text, count),
        _ => text.copy_from_slice(state),
    }
    assert_eq!(out.len() - start, state.len());
}

/// False when there is nothing to move.
fn move_condstore(blob: &mut [u8]) -> bool {
    let Some((mailbox, _)) = features(blob) else { return false };
    let mailbox_bytes = mailbox.len();
    blob[BASE.len()..][..mailbox_bytes + CONDSTORE.len()].rotate_left(mailbox_bytes);
    assert!(blob[BASE.len()..].starts_with(CONDSTORE));
    true
}

/// The mailbox block, and what follows CONDSTORE, if that is what follows the mailbox.
fn features(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let blocks = blob.strip_prefix(BASE)?;
    let rest = after_mailbox(blocks)?;
    let behind = rest.strip_prefix(CONDSTORE)?;
    Some((&blocks[..blocks.len() - rest.len()], behind))
}

/// What follows the mailbox block: name and NUL, GUID, one byte, seven numbers, ranges of UIDs.
fn after_mailbox(blocks: &[u8]) -> Option<&[u8]> {
    let named = blocks.strip_prefix(b"B")?;
    let name_bytes = named.iter().position(|&byte| byte == 0)?;
    let mut rest = named.get(name_bytes + 1 + GUID_BYTES + 1..)?;
    for _ in 0..NUMBERS {
        number(&mut rest)?;
    }
    for _ in 0..number(&mut rest)? {
        let is_range = number(&mut rest)? & 1 == 1;
        if is_range {
            number(&mut rest)?;
        }
    }
    Some(rest)
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let end = rest.iter().take(NUMBER_BYTES_MAX).position(|byte| byte & 0x80 == 0)?;
    let (bytes, after) = rest.split_at(end + 1);
    *rest = after;
    let more = |value, byte: &u8| value << 7 | u64::from(byte & 0x7F);
    Some(bytes.iter().rev().fold(0, more))
}

/// Turns the first `count` bytes of `text` into the base64 that fills it. From the end on: three
/// bytes become four, so what is written lies behind everything that is still to be read.
fn encode_in_place(text: &mut [u8], count: usize) {
    assert_eq!(text.len(), count.div_ceil(3) * 4);
    for group in (0..count.div_ceil(3)).rev() {
        let mut bytes = [0; 3];
        let taken = (count - 3 * group).min(3);
        bytes[..taken].copy_from_slice(&text[3 * group..][..taken]);
        let place = &mut text[4 * group..][..4];
        let written = STANDARD.encode_slice(&bytes[..taken], place).expect("a group is four");
        assert_eq!(written, 4);
    }
}

const BASE: &[u8] = b"base\n";
const CONDSTORE: &[u8] = b"FCONDSTORE\0";
const QRESYNC: &[u8] = b"FQRESYNC\0";
const GUID_BYTES: usize = 16;
/// uidvalidity, uidnext, messages, highest modseq, keywords and two checksums.
const NUMBERS: usize = 7;
/// 64 bits, seven a byte.
const NUMBER_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests;
