//! IMAP before the login (RFC 9051 section 6.2, RFC 4959): bytes in, answers and one login out.
//!
//! Pure. The grammar is imap-codec's. Bytes are taken up to each end of a line only, so that what
//! a client has sent behind its login is still there, untouched, for its worker.

use std::borrow::Cow;

use imap_codec::decode::Decoder;
use imap_codec::fragmentizer::{FragmentInfo, Fragmentizer};
use imap_codec::imap_types::auth::{AuthMechanism, AuthenticateData};
use imap_codec::imap_types::command::{Command, CommandBody};
use imap_codec::imap_types::core::LiteralMode;
use imap_codec::imap_types::secret::Secret;
use imap_codec::{AuthenticateDataCodec, CommandCodec};
use torpor_worker::CAPABILITIES_BEFORE_LOGIN;

/// One conversation, from the greeting to the login.
#[derive(Debug)]
pub struct Talk {
    fragments: Fragmentizer,
    /// Received and not yet looked at.
    unread: Vec<u8>,
    /// Received in all.
    bytes: usize,
    bytes_max: usize,
    /// The tag of an AUTHENTICATE that waits for its data.
    authenticating: Option<String>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes are needed.
    Read,
    Say(Cow<'static, str>),
    /// A user wants in: check the password, then answer under this tag.
    Login(Login),
    /// Say this and close.
    End(Ending),
}

/// The last words of a conversation that led to no login.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    pub text: Cow<'static, str>,
    /// True exactly when the client has sent more than it may.
    pub is_flood: bool,
}

/// Who wants in.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    pub tag: String,
    pub user: Vec<u8>,
    /// Shows itself to no log.
    pub password: Secret<Vec<u8>>,
    pub method: Method,
}

/// How the password came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Login,
    Plain,
}

impl Talk {
    /// At most `bytes_max` bytes are taken before the login.
    pub fn new(bytes_max: u32) -> Self {
        Self {
            fragments: Fragmentizer::new(bytes_max),
            unread: Vec::new(),
            bytes: 0,
            bytes_max: bytes_max as usize,
            authenticating: None,
        }
    }

    /// The client has sent something.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.unread.extend_from_slice(bytes);
    }

    /// What the client has sent behind what was answered.
    pub fn into_unread(self) -> Vec<u8> {
        self.unread
    }

    /// The next answer, until it is [`Next::Read`].
    pub fn next(&mut self) -> Next {
        loop {
            match self.fragments.progress() {
                Some(FragmentInfo::Line { announcement: Some(literal), .. }) => {
                    let too_long = literal.length as usize > self.bytes_max;
                    match literal.mode {
                        LiteralMode::Sync if too_long => return self.refuse_literal(),
                        LiteralMode::Sync => return Next::Say("+ OK\r\n".into()),
                        LiteralMode::NonSync if too_long => return flood(TOO_MUCH),
                        LiteralMode::NonSync => {}
                    }
                }
                Some(_) if self.fragments.is_message_complete() => {
                    if let Some(next) = self.message() {
                        return next;
                    }
                }
                Some(_) => {}
                None if self.feed_line() => {}
                None if self.bytes > self.bytes_max => return flood(TOO_MUCH),
                None => return Next::Read,
            }
        }
    }

    /// Gives the fragmentizer one more line, or the beginning of one.
    fn feed_line(&mut self) -> bool {
        let line_end = self.unread.iter().position(|byte| *byte == b'\n');
        let count = line_end.map_or(self.unread.len(), |at| at + 1);
        self.fragments.enqueue_bytes(&self.unread[..count]);
        self.unread.drain(..count);
        count > 0
    }

    fn refuse_literal(&mut self) -> Next {
        let tag = self.fragments.decode_tag().map(|tag| tag.as_ref().to_owned());
        self.fragments.skip_message();
        self.authenticating = None;
        match tag {
            Some(tag) => say(&tag, "BAD", "[TOOBIG] The literal is too long"),
            None => flood("* BYE The literal is too long\r\n"),
        }
    }

    /// Answers a whole command, or the data of AUTHENTICATE.
    fn message(&mut self) -> Option<Next> {
        let bytes = self.fragments.message_bytes();
        if self.fragments.is_max_message_size_exceeded() {
            return Some(flood(TOO_MUCH));
        }
        if let Some(tag) = self.authenticating.take() {
            return Some(match AuthenticateDataCodec::default().decode(bytes) {
                Ok((b"", AuthenticateData::Continue(data))) => plain(tag, data.declassify()),
                Ok((b"", AuthenticateData::Cancel)) => say(&tag, "BAD", "Authentication cancelled"),
                _ => say(&tag, "BAD", "Not base64"),
            });
        }
        // Telnet users press Enter; nobody answers that.
        if bytes == b"\r\n" || bytes == b"\n" {
            return None;
        }
        let Ok((b"", command)) = CommandCodec::default().decode(bytes) else {
            let tag = self.fragments.decode_tag();
            return Some(match tag {
                Some(tag) => say(tag.as_ref(), "BAD", "Not a command, or not before login"),
                None => Next::Say("* BAD A command begins with a tag\r\n".into()),
            });
        };
        let (next, authenticating) = answer(&command);
        self.authenticating = authenticating;
        Some(next)
    }
}

impl Method {
    /// The name of its SASL mechanism; LOGIN's password is as plain, and Dovecot's log says so.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
        }
    }
}

/// The answer to a command, and the tag that waits for AUTHENTICATE's data.
fn answer(command: &Command<'_>) -> (Next, Option<String>) {
    let tag = command.tag.as_ref();
    let next = match &command.body {
        CommandBody::Capability => {
            let text = format!(
                "* CAPABILITY {CAPABILITIES_BEFORE_LOGIN}\r\n{tag} OK Capability completed\r\n"
            );
            Next::Say(text.into())
        }
        CommandBody::Id { .. } => {
            Next::Say(format!("* ID (\"name\" \"torpor\")\r\n{tag} OK ID completed\r\n").into())
        }
        CommandBody::Noop => say(tag, "OK", "NOOP completed"),
        CommandBody::Logout => {
            let text = format!("* BYE Logging out\r\n{tag} OK Logout completed\r\n");
            Next::End(Ending { text: text.into(), is_flood: false })
        }
        CommandBody::Login { username, password } => Next::Login(Login {
            tag: tag.to_owned(),
            user: username.as_ref().to_vec(),
            password: Secret::new(password.declassify().as_ref().to_vec()),
            method: Method::Login,
        }),
        CommandBody::Authenticate { mechanism: AuthMechanism::Plain, initial_response } => {
            match initial_response {
                Some(data) => plain(tag.to_owned(), data.declassify()),
                None => return (Next::Say("+ \r\n".into()), Some(tag.to_owned())),
            }
        }
        CommandBody::Authenticate { .. } => say(tag, "NO", "Only PLAIN is known"),
        CommandBody::StartTLS => say(tag, "BAD", "TLS is not available"),
        _ => say(tag, "BAD", "Log in first"),
    };
    (next, None)
}

/// The message of SASL PLAIN (RFC 4616): whom to be, who one is, the password, NUL between them.
fn plain(tag: String, message: &[u8]) -> Next {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (Some(whom), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next())
    else {
        return say(&tag, "BAD", "Not a message of SASL PLAIN");
    };
    if !whom.is_empty() && whom != user {
        return say(&tag, "NO", "[AUTHORIZATIONFAILED] Nobody logs in for somebody else");
    }
    let (user, password) = (user.to_vec(), Secret::new(password.to_vec()));
    Next::Login(Login { tag, user, password, method: Method::Plain })
}

fn say(tag: &str, status: &str, text: &str) -> Next {
    Next::Say(format!("{tag} {status} {text}\r\n").into())
}

fn flood(text: &'static str) -> Next {
    Next::End(Ending { text: text.into(), is_flood: true })
}

const TOO_MUCH: &str = "* BYE Too many bytes before login\r\n";

#[cfg(test)]
mod tests;
