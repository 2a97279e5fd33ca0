//! A mail's bytes as IMAP shows them: CRLF at the end of each line, and no NUL.
//!
//! A Maildir file may end its lines with a bare LF, while sizes, offsets and literals count the
//! CRLF form (RFC 3501 section 2.3.4). The file is never rewritten: sizes are counted, and bytes
//! are converted on their way out, piece by piece, without a copy. A literal cannot hold NUL
//! (`CHAR8` of RFC 3501 section 9), so it goes out as 0x80, as Dovecot 2.3 does.

use std::io::{self, Write};

/// The slices of a file that make up one section, in order; each begins at the start of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices<'a>(pub Vec<&'a [u8]>);

impl Slices<'_> {
    /// Bytes in CRLF form.
    pub fn wire_size(&self) -> u64 {
        self.0.iter().map(|slice| wire_size(slice)).sum()
    }

    /// Writes `count` bytes of the CRLF form from `offset` on, or fewer where they end.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, offset: u64, count: u64, out: &mut dyn Write) -> io::Result<()> {
        let (mut skip, mut left) = (offset, count);
        for piece in self.0.iter().flat_map(|slice| pieces(slice)) {
            let skipped = skip.min(piece.len() as u64);
            skip -= skipped;
            let piece = &piece[skipped as usize..];
            let taken = left.min(piece.len() as u64);
            out.write_all(&piece[..taken as usize])?;
            left -= taken;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Bytes of a text in CRLF form.
pub fn wire_size(text: &[u8]) -> u64 {
    text.len() as u64 + bare_line_feeds(text)
}

/// Line feeds that no carriage return precedes.
pub fn bare_line_feeds(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).filter(|at| !follows_cr(text, *at)).count() as u64
}

/// A text cut where its wire form differs from it.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    let mut due: &[u8] = b"";
    std::iter::from_fn(move || {
        if !due.is_empty() {
            return Some(std::mem::take(&mut due));
        }
        if rest.is_empty() {
            return None;
        }
        let mut odd = memchr::memchr2_iter(b'\n', 0, rest);
        let Some(at) = odd.find(|at| rest[*at] == 0 || !follows_cr(rest, *at)) else {
            return Some(std::mem::take(&mut rest));
        };
        let (piece, tail) = rest.split_at(at);
        due = if tail[0] == 0 { b"\x80" } else { b"\r\n" };
        rest = &tail[1..];
        Some(piece)
    })
}

fn follows_cr(text: &[u8], at: usize) -> bool {
    at > 0 && text[at - 1] == b'\r'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8], offset: u64, count: u64) -> Vec<u8> {
        let mut out = Vec::new();
        Slices(vec![text]).write(offset, count, &mut out).expect("a Vec takes all");
        out
    }

    #[test]
    fn a_bare_lf_becomes_crlf_and_nul_0x80() {
        let text = b"\na\r\nb\nc\rd\0\n\0\r";
        let wire = b"\r\na\r\nb\r\nc\rd\x80\r\n\x80\r";
        assert_eq!(shown(text, 0, u64::MAX), wire);
        assert_eq!(wire_size(text), wire.len() as u64);
    }

    #[test]
    fn every_cut_of_the_wire_form_is_the_wire_form_cut() {
        let text = b"one\ntwo\r\n\0\n\nend";
        let whole = shown(text, 0, u64::MAX);
        for offset in 0..whole.len() + 2 {
            for count in 0..whole.len() + 2 {
                let begin = offset.min(whole.len());
                let end = (offset + count).min(whole.len());
                assert_eq!(shown(text, offset as u64, count as u64), &whole[begin..end]);
            }
        }
    }

    #[test]
    fn slices_are_joined_before_they_are_cut() {
        let mut out = Vec::new();
        Slices(vec![b"a\n", b"b\n"]).write(2, 2, &mut out).expect("a Vec takes all");
        assert_eq!(out, b"\nb");
    }
}
