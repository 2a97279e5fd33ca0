//! What a sleeping client has said so far, and whether that is for us to answer.
//!
//! Only one thing is answered asleep: `DONE` and the next `IDLE` in one breath (RFC 2177). Bytes
//! that could still become a `DONE` are waited for; everything else wakes the client, and the
//! worker parses the very same bytes, so a hibernated session answers like one that never slept.

use core::ops::Range;

use crate::limits::TAG_BYTES_MAX;

/// The verdict on the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A proper beginning of `DONE CR LF`: wait for more.
    Partial,
    /// `DONE CRLF tag SP IDLE CRLF` and nothing behind it; where the new tag lies.
    DoneIdle(Range<usize>),
    /// A worker's business.
    Wake,
}

/// Judges all bytes since the client fell asleep or was last answered. Letters in any case, LF
/// with or without CR, as Dovecot has it.
pub fn judge(bytes: &[u8]) -> Verdict {
    let word = bytes.len().min(DONE.len());
    if !bytes[..word].eq_ignore_ascii_case(&DONE[..word]) {
        return Verdict::Wake;
    }
    match &bytes[word..] {
        [] | [b'\r'] => Verdict::Partial,
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => match idle_tag(rest) {
            Some(tag_bytes) => {
                let at = bytes.len() - rest.len();
                Verdict::DoneIdle(at..at + tag_bytes)
            }
            None => Verdict::Wake,
        },
        _ => Verdict::Wake,
    }
}

/// The length of the tag when `rest` is exactly `tag SP IDLE CRLF`.
fn idle_tag(rest: &[u8]) -> Option<usize> {
    let line = rest.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let tag_bytes = line.len().checked_sub(SP_IDLE.len())?;
    let (tag, command) = line.split_at(tag_bytes);
    let named = command.eq_ignore_ascii_case(SP_IDLE);
    let sized = (1..=TAG_BYTES_MAX).contains(&tag.len());
    (named && sized && tag.iter().copied().all(is_tag_char)).then_some(tag_bytes)
}

/// RFC 3501 section 9: any ASTRING-CHAR except `+`. A `]` is the worker's to judge: Dovecot 2.4
/// takes it in a tag, 2.3.19 does not.
fn is_tag_char(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !b"(){%*\"\\+]".contains(&byte)
}

const DONE: &[u8] = b"DONE";
const SP_IDLE: &[u8] = b" IDLE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_the_protocol() {
        use Verdict::{Partial, Wake};
        let cases: [(&[u8], Verdict); 27] = [
            (b"", Partial),
            (b"D", Partial),
            (b"don", Partial),
            (b"DONE", Partial),
            (b"DONE\r", Partial),
            (b"DONE\n", Wake),
            (b"done\r\n", Wake),
            (b"DONEX", Wake),
            (b"DONE \r\n", Wake),
            (b"DONE\r\r\n", Wake),
            (b"\r\nDONE\r\n", Wake),
            (b"DONE\r\nabc", Wake),
            (b"DONE\r\nabc\r\n", Wake),
            (b"DONE\r\na\tb IDLE\r\n", Wake),
            (b"DONE\r\n IDLE\r\n", Wake),
            (b"DONE\r\nIDLE\r\n", Wake),
            (b"DONE\r\na4 IDLE\r\n", Verdict::DoneIdle(6..8)),
            (b"DONE\na4 idle\n", Verdict::DoneIdle(5..7)),
            (b"DONE\r\na4 IDLE\r\nDONE\r\na5 IDLE\r\n", Wake),
            (b"DONE\r\nfoo\nbar IDLE\r\n", Wake),
            (b"DONE\r\na+ IDLE\r\n", Wake),
            (b"DONE\r\na\x01 IDLE\r\n", Wake),
            (b"DONE\r\na\x80 IDLE\r\n", Wake),
            (b"DONE\r\na4 IDLE \r\n", Wake),
            (b"DONE\r\na4  IDLE\r\n", Wake),
            (b"AAAA", Wake),
            (b"DONE\r\nb]c IDLE\r\n", Wake),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(judge(bytes), verdict, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_tag_of_128_bytes_is_the_longest() {
        for (length, answered) in [(1, true), (128, true), (129, false)] {
            let line = [b"DONE\r\n", "t".repeat(length).as_bytes(), b" IDLE\r\n"].concat();
            assert_eq!(judge(&line) == Verdict::DoneIdle(6..6 + length), answered);
        }
    }

    /// Whatever arrives, waiting ends after five bytes at the latest: nobody can make us hoard.
    #[test]
    fn undecided_input_always_fits_the_record() {
        let alphabet = b"dDoOnNeE\r\n xA\0\x80";
        let mut pool = vec![Vec::new()];
        while let Some(bytes) = pool.pop() {
            if judge(&bytes) == Verdict::Partial {
                assert!(bytes.len() <= crate::record::INPUT_MAX);
                pool.extend(alphabet.iter().map(|byte| [&bytes[..], &[*byte]].concat()));
            }
        }
    }
}
