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
mod tests {
    use super::*;

    /// All that the client is told, until bytes or a password check are needed.
    fn play(talk: &mut Talk, bytes: &[u8]) -> (String, Option<Login>) {
        talk.feed(bytes);
        let mut said = String::new();
        loop {
            match talk.next() {
                Next::Read => return (said, None),
                Next::Say(text) => said.push_str(&text),
                Next::Login(login) => return (said, Some(login)),
                Next::End(ending) => return (said + &ending.text + "[end]", None),
            }
        }
    }

    fn login(bytes: &[u8]) -> Option<(String, String, String)> {
        let (_, login) = play(&mut Talk::new(4096), bytes);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        login.map(|login| (login.tag, text(&login.user), text(login.password.declassify())))
    }

    #[test]
    fn every_way_to_send_a_password_is_the_same_login() {
        let expected = Some(("a1".to_owned(), "ann".to_owned(), "pw".to_owned()));
        let ways: [&[u8]; 7] = [
            b"a1 LOGIN ann pw\r\n",
            b"a1 login \"ann\" \"pw\"\r\n",
            b"a1 LOGIN {3}\r\nann {2}\r\npw\r\n",
            b"a1 LOGIN {3+}\r\nann {2+}\r\npw\r\n",
            b"a1 AUTHENTICATE PLAIN AGFubgBwdw==\r\n",
            b"a1 authenticate plain\r\nAGFubgBwdw==\r\n",
            b"a1 AUTHENTICATE PLAIN YW5uAGFubgBwdw==\r\n",
        ];
        for way in ways {
            assert_eq!(login(way), expected, "{}", String::from_utf8_lossy(way));
        }
    }

    #[test]
    fn a_password_cut_anywhere_is_the_same_and_what_follows_stays_untouched() {
        let (command, behind) = (b"a1 LOGIN ann {2}\r\np\n\r\n", b"a2 SELECT INBOX\r\na3 ID");
        let whole = [&command[..], &behind[..]].concat();
        for cut in 1..whole.len() {
            let mut talk = Talk::new(4096);
            let (first, mut found) = play(&mut talk, &whole[..cut]);
            let mut said = first;
            if found.is_none() {
                let (more, login) = play(&mut talk, &whole[cut..]);
                said.push_str(&more);
                found = login;
            } else {
                talk.feed(&whole[cut..]);
            }
            assert_eq!(said, "+ OK\r\n", "cut at {cut}");
            let login = found.expect("a login");
            assert_eq!(login.password.declassify(), b"p\n");
            assert_eq!(talk.into_unread(), behind, "cut at {cut}");
        }
    }

    #[test]
    fn commands_have_their_answers_and_everything_else_is_bad() {
        let mut talk = Talk::new(4096);
        let mut ask = |text: &str| play(&mut talk, text.as_bytes()).0;
        assert!(ask("a CAPABILITY\r\n").starts_with("* CAPABILITY IMAP4rev1 "));
        assert!(ask("b ID (\"name\" \"x\")\r\n").contains("b OK "));
        assert_eq!(ask("c NOOP\r\n"), "c OK NOOP completed\r\n");
        assert_eq!(ask("d SELECT INBOX\r\n"), "d BAD Log in first\r\n");
        assert!(ask("e STARTTLS\r\n").starts_with("e BAD "));
        assert!(ask("f LOGIN ann\r\n").starts_with("f BAD "));
        assert!(ask("g FROBNICATE\r\n").starts_with("g BAD "));
        assert!(ask("\u{1}\r\n").starts_with("* BAD "));
        assert_eq!(ask("\r\n"), "");
        assert!(ask("h AUTHENTICATE CRAM-MD5\r\n").starts_with("h NO "));
        assert!(ask("i AUTHENTICATE PLAIN\r\n").starts_with("+ "));
        assert!(ask("*\r\n").starts_with("i BAD "));
        assert!(ask("j AUTHENTICATE PLAIN\r\n").starts_with("+ "));
        assert!(ask("!\r\n").starts_with("j BAD "));
        assert!(ask("k AUTHENTICATE PLAIN YQ==\r\n").starts_with("k BAD "));
        let boss = ask("l AUTHENTICATE PLAIN Ym9zcwBhbm4AcHc=\r\n");
        assert!(boss.starts_with("l NO [AUTHORIZATIONFAILED]"), "{boss}");
        assert_eq!(ask("m NOOP\r\nn NOOP\r\n").lines().count(), 2, "pipelined");
        assert!(ask("o LOGOUT\r\n").ends_with("o OK Logout completed\r\n[end]"));
    }

    #[test]
    fn what_is_too_much_ends_before_it_is_read() {
        let mut talk = Talk::new(100);
        let (said, _) = play(&mut talk, b"a LOGIN {101}\r\n");
        assert!(said.starts_with("a BAD [TOOBIG]"), "{said}");
        assert_eq!(play(&mut talk, b"b NOOP\r\n").0, "b OK NOOP completed\r\n");
        assert!(play(&mut talk, b"c LOGIN {4294967295+}\r\n").0.ends_with("[end]"));
        for flood in [&b"x"[..], b"x\r\n", b"a NOOP\r\n", b"a LOGIN {9}\r\n{9}\r\n"] {
            let mut talk = Talk::new(100);
            let ended = (0..200).any(|_| play(&mut talk, flood).0.ends_with("[end]"));
            assert!(ended, "{}", String::from_utf8_lossy(flood));
        }
    }
}
