//! Pieces of answers that many commands write.
//!
//! Answers are written by hand, straight into the link: that is what lets a list of any length be
//! streamed, and VANISHED and the codes of RFC 7162 are nothing that imap-codec can write.

use std::io::{self, Write};

use torpor_store::{Flags, Message};

use crate::features::Features;
use crate::ranges::Ranges;

/// `astring`: as an atom where that is possible, else quoted. Mailbox names have no control
/// characters and are ASCII, so a literal is never needed.
pub fn astring(out: &mut impl Write, text: &str) -> io::Result<()> {
    let is_atom = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_atom) {
        return out.write_all(text.as_bytes());
    }
    out.write_all(b"\"")?;
    for byte in text.bytes() {
        if byte == b'"' || byte == b'\\' {
            out.write_all(b"\\")?;
        }
        out.write_all(&[byte])?;
    }
    out.write_all(b"\"")
}

/// `(\Seen $Forwarded)`, in Dovecot's order.
pub fn flags(
    out: &mut impl Write,
    flags: Flags,
    is_recent: bool,
    keywords: &[String],
) -> io::Result<()> {
    out.write_all(b"(")?;
    let system = SYSTEM_FLAGS.iter().filter(|(flag, _)| flags.contains(*flag));
    let recent = is_recent.then_some("\\Recent");
    let words = flags.keywords().filter_map(|number| keywords.get(usize::from(number)));
    let all = system.map(|(_, name)| *name).chain(recent);
    for (at, name) in all.chain(words.map(String::as_str)).enumerate() {
        write!(out, "{}{name}", if at == 0 { "" } else { " " })?;
    }
    out.write_all(b")")
}

/// The line that tells of changed flags: `* 3 FETCH (UID 7 FLAGS (\Seen) MODSEQ (12))`.
pub fn fetch_flags(
    out: &mut impl Write,
    sequence: u32,
    message: &Message,
    is_recent: bool,
    keywords: &[String],
    shape: FetchShape,
) -> io::Result<()> {
    write!(out, "* {sequence} FETCH (")?;
    if shape.uid {
        write!(out, "UID {}", message.uid)?;
    }
    if shape.flags {
        write!(out, "{}FLAGS ", if shape.uid { " " } else { "" })?;
        flags(out, message.flags, is_recent, keywords)?;
    }
    if shape.modseq {
        let space = if shape.uid || shape.flags { " " } else { "" };
        write!(out, "{space}MODSEQ ({})", message.modseq)?;
    }
    out.write_all(b")\r\n")
}

/// What a FETCH that tells of changed flags holds.
#[derive(Clone, Copy, Debug)]
pub struct FetchShape {
    pub uid: bool,
    pub flags: bool,
    pub modseq: bool,
}

impl FetchShape {
    /// Flags, with what the enabled extensions ask for (RFC 7162, 3.1.4 and 3.2).
    pub fn flags(features: Features) -> Self {
        Self { uid: features.qresync, flags: true, modseq: features.condstore }
    }
}

/// `* FLAGS` and PERMANENTFLAGS: what a mailbox has, and what this client may change.
pub fn flag_lists(out: &mut impl Write, keywords: &[String], examine: bool) -> io::Result<()> {
    let system = SYSTEM_FLAGS.map(|(_, name)| name);
    let mut names = system.join(" ");
    for keyword in keywords {
        names.push(' ');
        names.push_str(keyword);
    }
    write!(out, "* FLAGS ({names})\r\n")?;
    match examine {
        true => write!(out, "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n"),
        false => write!(out, "* OK [PERMANENTFLAGS ({names} \\*)] Flags permitted.\r\n"),
    }
}

/// `* VANISHED 1:3,5`, in as many lines as are needed to keep each of them readable; `how` is
/// empty or `(EARLIER) ` (RFC 7162, 3.2.10).
pub fn vanished(out: &mut impl Write, how: &str, uids: &Ranges) -> io::Result<()> {
    for part in uids.ranges().chunks(VANISHED_RANGES_MAX) {
        let part: Ranges = part.iter().cloned().collect();
        write!(out, "* VANISHED {how}{part}\r\n")?;
    }
    Ok(())
}

/// At most 22 bytes each, so that a line stays below 8 KiB (RFC 7162, 4: 8192 octets).
const VANISHED_RANGES_MAX: usize = 360;

const SYSTEM_FLAGS: [(Flags, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];
