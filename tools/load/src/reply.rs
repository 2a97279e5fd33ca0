//! Bytes from the server, cut into replies by imap-codec.
//!
//! Of most replies it only matters that they are IMAP; what a load tool waits for has a variant.

use imap_codec::decode::{Decoder, GreetingDecodeError, ResponseDecodeError};
use imap_codec::imap_types::response::{
    Data, Greeting, GreetingKind, Response, Status, StatusBody, StatusKind,
};
use imap_codec::{GreetingCodec, ResponseCodec};

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The first line; false when the server says BYE or takes us for somebody else already.
    Greeting { ok: bool, text: String },
    /// `+`
    Continue,
    /// The end of the command with this tag.
    Tagged { tag: String, ok: bool, text: String },
    /// Messages in the mailbox.
    Exists(u32),
    /// The server is about to close.
    Bye(String),
    /// Any other reply.
    Other,
}

/// These bytes are not IMAP; as much of them as is worth showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotImap(pub String);

/// What has been received and not yet understood. Empty, it owns no memory.
#[derive(Debug, Default)]
pub struct Replies {
    unread: Vec<u8>,
    greeted: bool,
}

impl Replies {
    /// Takes in what was read.
    pub fn add(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next whole reply, once it is there.
    ///
    /// # Errors
    /// The bytes are no reply, or go on for longer than any that this tool asks for.
    pub fn next(&mut self) -> Result<Option<Reply>, NotImap> {
        if self.unread.is_empty() {
            return Ok(None);
        }
        let decoded = if self.greeted { response(&self.unread) } else { greeting(&self.unread) };
        let Some((left, reply)) = decoded.map_err(|()| self.not_imap())? else {
            let long = self.unread.len() > REPLY_BYTES_MAX;
            return if long { Err(self.not_imap()) } else { Ok(None) };
        };
        self.greeted = true;
        self.unread.drain(..self.unread.len() - left);
        if self.unread.is_empty() {
            // A sleeper costs nothing here.
            self.unread = Vec::new();
        }
        Ok(Some(reply))
    }

    fn not_imap(&self) -> NotImap {
        let line = self.unread.split(|byte| *byte == b'\n').next().unwrap_or_default();
        NotImap(line.trim_ascii().escape_ascii().to_string().chars().take(TEXT_CHARS_MAX).collect())
    }
}

/// A server's words, cut to what a table can show.
pub fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|char| !char.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// The bytes left over and the greeting; `None` while it is not complete.
fn greeting(bytes: &[u8]) -> Result<Option<(usize, Reply)>, ()> {
    match GreetingCodec::default().decode(bytes) {
        Ok((left, Greeting { kind, text, .. })) => {
            let ok = kind == GreetingKind::Ok;
            Ok(Some((left.len(), Reply::Greeting { ok, text: shown(text.as_ref()) })))
        }
        Err(GreetingDecodeError::Incomplete) => Ok(None),
        Err(GreetingDecodeError::Failed) => Err(()),
    }
}

/// The bytes left over and the reply; `None` while it is not complete.
fn response(bytes: &[u8]) -> Result<Option<(usize, Reply)>, ()> {
    match ResponseCodec::default().decode(bytes) {
        Ok((left, response)) => Ok(Some((left.len(), told(response)))),
        Err(ResponseDecodeError::Incomplete | ResponseDecodeError::LiteralFound { .. }) => Ok(None),
        Err(ResponseDecodeError::Failed) => Err(()),
    }
}

fn told(response: Response<'_>) -> Reply {
    match response {
        Response::CommandContinuationRequest(_) => Reply::Continue,
        Response::Data(Data::Exists(count)) => Reply::Exists(count),
        Response::Status(Status::Bye(bye)) => Reply::Bye(shown(bye.text.as_ref())),
        Response::Status(Status::Tagged(tagged)) => {
            let StatusBody { kind, text, .. } = tagged.body;
            let (tag, ok) = (tagged.tag.as_ref().to_owned(), kind == StatusKind::Ok);
            Reply::Tagged { tag, ok, text: shown(text.as_ref()) }
        }
        Response::Data(_) | Response::Status(Status::Untagged(_)) => Reply::Other,
    }
}

/// Far more than a CAPABILITY or a FLAGS list with 64 keywords of 200 bytes.
const REPLY_BYTES_MAX: usize = 64 * 1024;
const TEXT_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reply in `text`, given byte by byte and at once.
    fn replies(text: &str) -> Vec<Reply> {
        let mut slow = Replies::default();
        let mut seen = Vec::new();
        for byte in text.bytes() {
            slow.add(&[byte]);
            while let Some(reply) = slow.next().expect("it is IMAP") {
                seen.push(reply);
            }
        }
        let mut fast = Replies::default();
        fast.add(text.as_bytes());
        let all = std::iter::from_fn(|| fast.next().expect("it is IMAP"));
        assert_eq!(all.collect::<Vec<_>>(), seen);
        seen
    }

    #[test]
    fn a_session_is_cut_into_its_replies() {
        let text = "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ \
                    AUTH=PLAIN] Dovecot ready.\r\n\
                    a1 OK [CAPABILITY IMAP4rev1 IDLE NOTIFY SPECIAL-USE] Logged in\r\n\
                    * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n\
                    * OK [PERMANENTFLAGS (\\Answered \\Seen \\*)] Flags permitted.\r\n\
                    * 12 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 3] UIDs valid\r\n\
                    * OK [HIGHESTMODSEQ 1] Highest\r\na2 NO [TRYCREATE] no\r\n+ idling\r\n\
                    * OK Still here\r\n* 13 EXISTS\r\n* BYE Server shutting down.\r\n";
        let replies = replies(text);
        let told: Vec<_> = replies.iter().filter(|reply| **reply != Reply::Other).collect();
        let ok = Reply::Greeting { ok: true, text: "Dovecot ready.".to_owned() };
        let done = |tag: &str, ok, text: &str| Reply::Tagged {
            tag: tag.to_owned(),
            ok,
            text: text.to_owned(),
        };
        let expected = [
            &ok,
            &done("a1", true, "Logged in"),
            &Reply::Exists(12),
            &done("a2", false, "no"),
            &Reply::Continue,
            &Reply::Exists(13),
            &Reply::Bye("Server shutting down.".to_owned()),
        ];
        assert_eq!(told, expected);
        assert_eq!(replies.len() - told.len(), 6);
    }

    #[test]
    fn a_literal_is_waited_for() {
        let mut replies = Replies { greeted: true, ..Replies::default() };
        replies.add(b"* 1 FETCH (BODY[TEXT] {5}\r\nab");
        assert_eq!(replies.next(), Ok(None));
        replies.add(b"cde)\r\n");
        assert_eq!(replies.next(), Ok(Some(Reply::Other)));
        assert_eq!(replies.unread.capacity(), 0, "what is read is given back");
    }

    #[test]
    fn what_is_no_imap_is_shown() {
        let mut replies = Replies::default();
        replies.add(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(replies.next(), Err(NotImap("HTTP/1.1 400 Bad Request".to_owned())));
        replies.unread = b"\x01\xff\r\n".to_vec();
        assert_eq!(replies.next(), Err(NotImap(r"\x01\xff".to_owned())));
        let mut endless = Replies { greeted: true, ..Replies::default() };
        endless.add(&vec![b'a'; REPLY_BYTES_MAX + 1]);
        assert!(endless.next().is_err());
    }
}
