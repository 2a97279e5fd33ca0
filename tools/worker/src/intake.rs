//! Commands, read from the link and parsed by imap-codec.
//!
//! What is ours is only where a line ends and whether a literal is wanted. A literal that is not
//! wanted is never read if the client waits for our `+`, and is skipped if it does not (RFC 7888),
//! so that its bytes are not taken for commands.

use std::io::{Read as _, Write as _};

use imap_codec::CommandCodec;
use imap_codec::decode::{CommandDecodeError, Decoder as _};
use imap_codec::fragmentizer::{FragmentInfo, Fragmentizer, LiteralAnnouncement};
use imap_codec::imap_types::IntoStatic as _;
use imap_codec::imap_types::command::{Command, CommandBody};
use imap_codec::imap_types::core::{LiteralMode, Tag};
use imap_codec::imap_types::datetime::DateTime;
use imap_codec::imap_types::extensions::binary::LiteralOrLiteral8;
use imap_codec::imap_types::flag::Flag;
use imap_codec::imap_types::mailbox::Mailbox;

use crate::end::End;
use crate::limits::{
    COMMAND_BYTES_MAX, COMMAND_WAIT_MAX, INPUT_BYTES, LITERALS_MAX, MESSAGE_BYTES_MAX, SILENCE_MAX,
};
use crate::link::{Line, Link};
use crate::reply::Reply;

/// What a client wants.
#[derive(Debug)]
pub enum Request {
    Command(Box<Command<'static>>),
    /// An APPEND whose message has been announced, but neither asked for nor read.
    Append(AppendHead),
    /// Malformed; everything that belonged to it has been read.
    Bad {
        tag: Option<String>,
        reply: Reply,
    },
}

/// APPEND without its message.
#[derive(Debug)]
pub struct AppendHead {
    pub tag: String,
    pub mailbox: Mailbox<'static>,
    pub flags: Vec<Flag<'static>>,
    pub date: Option<DateTime>,
    /// Bytes of the message.
    pub size: u32,
    /// Whether the client waits for our `+`.
    pub mode: LiteralMode,
}

/// Reads one request. Fails only if the session ends.
pub fn next(link: &mut Link) -> Result<Request, End> {
    let mut parts = Fragmentizer::new(COMMAND_BYTES_MAX);
    let mut silence = SILENCE_MAX;
    let mut refusal = None;
    for literals in 0.. {
        let line = match link.line(silence)? {
            Line::Whole(line) => line,
            Line::TooLong(line) => {
                let tag = tag_of(if literals == 0 { &line } else { parts.message_bytes() });
                return Ok(Request::Bad { tag, reply: Reply::bad("Too long line.") });
            }
        };
        silence = COMMAND_WAIT_MAX;
        let Some(LiteralAnnouncement { mode, length }) = push_line(&mut parts, &line) else {
            return Ok(finish(&parts, refusal));
        };
        if refusal.is_none() {
            if let Some(head) = append_head(parts.message_bytes(), length, mode) {
                return Ok(Request::Append(head));
            }
            refusal = refuse(parts.message_bytes(), length, literals);
        }
        match (mode, refusal.take()) {
            (LiteralMode::Sync, Some(reply)) => {
                return Ok(Request::Bad { tag: tag_of(parts.message_bytes()), reply });
            }
            (LiteralMode::Sync, None) => link.write_all(b"+ OK\r\n")?,
            (LiteralMode::NonSync, Some(_)) if length > MESSAGE_BYTES_MAX => {
                return Err(End::LiteralTooLarge);
            }
            (LiteralMode::NonSync, reply) => refusal = reply,
        }
        push_literal(&mut parts, link, length)?;
    }
    unreachable!("a client cannot send so many literals")
}

/// Reads and forgets what is left of a command behind a literal. True if that was nothing but the
/// line end.
pub fn discard_rest(link: &mut Link) -> Result<bool, End> {
    let mut is_empty = true;
    loop {
        let Line::Whole(line) = link.line(COMMAND_WAIT_MAX)? else { return Ok(false) };
        is_empty &= line.is_empty();
        match push_line(&mut Fragmentizer::new(COMMAND_BYTES_MAX), &line) {
            Some(LiteralAnnouncement { mode: LiteralMode::NonSync, length }) => {
                if length > MESSAGE_BYTES_MAX {
                    return Err(End::LiteralTooLarge);
                }
                link.skip(length.into())?;
            }
            _ => return Ok(is_empty),
        }
    }
}

/// Adds a line, however it ended, and says what literal it announces.
fn push_line(parts: &mut Fragmentizer, line: &[u8]) -> Option<LiteralAnnouncement> {
    parts.enqueue_bytes(line);
    parts.enqueue_bytes(b"\r\n");
    match parts.progress() {
        Some(FragmentInfo::Line { announcement, .. }) => announcement,
        other => unreachable!("a line is one fragment, not {other:?}"),
    }
}

fn push_literal(parts: &mut Fragmentizer, link: &mut Link, length: u32) -> Result<(), End> {
    let mut left = length as usize;
    let mut piece = [0; INPUT_BYTES];
    while parts.progress().is_none() {
        let room = left.min(piece.len());
        let count = link.read(&mut piece[..room])?;
        parts.enqueue_bytes(&piece[..count]);
        left -= count;
    }
    assert_eq!(left, 0, "a literal is one fragment");
    Ok(())
}

/// A command that is complete.
fn finish(parts: &Fragmentizer, refusal: Option<Reply>) -> Request {
    let bytes = parts.message_bytes();
    let malformed = || Reply::bad("Error in IMAP command.");
    let reply = match (refusal, CommandCodec::default().decode(bytes)) {
        (Some(reply), _) => reply,
        (None, _) if parts.is_max_message_size_exceeded() => too_large(),
        (None, Ok((b"", command))) => return Request::Command(Box::new(command.into_static())),
        (None, _) => malformed(),
    };
    Request::Bad { tag: tag_of(bytes), reply }
}

/// Why a literal is not read; `None` if it is.
fn refuse(bytes: &[u8], length: u32, literals: usize) -> Option<Reply> {
    if bytes.len() + length as usize > COMMAND_BYTES_MAX as usize {
        return Some(too_large());
    }
    if literals >= LITERALS_MAX {
        return Some(Reply::bad("Too many literals."));
    }
    match CommandCodec::default().decode(bytes) {
        Err(CommandDecodeError::LiteralFound { .. }) => None,
        _ => Some(Reply::bad("Error in IMAP command.")),
    }
}

/// An APPEND whose message is announced by the last line. The grammar stays with the library: a
/// command that ends in an announcement is such an APPEND exactly when the same bytes with an empty
/// literal are one.
fn append_head(bytes: &[u8], size: u32, mode: LiteralMode) -> Option<AppendHead> {
    let announcement = bytes.iter().rposition(|&byte| byte == b'{')?;
    let probe = [&bytes[..announcement], b"{0}\r\n\r\n"].concat();
    let Ok((b"", Command { tag, body })) = CommandCodec::default().decode(&probe) else {
        return None;
    };
    let CommandBody::Append { mailbox, flags, date, message: LiteralOrLiteral8::Literal(_) } = body
    else {
        return None;
    };
    let flags = flags.into_iter().map(|flag| flag.into_static()).collect();
    let (tag, mailbox) = (tag.inner().to_owned(), mailbox.into_static());
    Some(AppendHead { tag, mailbox, flags, date, size, mode })
}

/// The tag of a command that may be malformed in every other respect.
fn tag_of(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| matches!(byte, b' ' | b'\r')).unwrap_or(bytes.len());
    let word = std::str::from_utf8(&bytes[..end]).ok()?;
    Tag::try_from(word).ok().map(|tag| tag.inner().to_owned())
}

fn too_large() -> Reply {
    Reply::bad("Literal too large.").code("TOOBIG")
}
