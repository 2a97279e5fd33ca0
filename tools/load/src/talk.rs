//! One client's side of an IMAP conversation, without any I/O: replies in, events out, and the
//! bytes of each command.
//!
//! ```text
//!  Greeting -> LoggingIn -> Awake -> Selecting -> Awake
//!                             Awake -> Entering -> Idling -> Ending -> Awake
//!                             Awake -> Draining -> Awake
//!                             Awake -> Over (LOGOUT)
//! ```
//! Any state but `Over` goes to `Over` by BYE, by a refusal, and by a reply that it does not allow.

use std::fmt::Write as _;

use crate::reply::{NotImap, Replies, Reply};
use crate::users::User;

/// What the replies mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server is ready for [`Talk::login`].
    Greeted,
    LoggedIn,
    Selected,
    /// The continuation of IDLE has come.
    Idling,
    /// IDLE has ended with OK.
    Awake,
    /// Messages in the mailbox, told while idling or between DONE and OK.
    Exists(u32),
    /// The last of the commands sent by [`Talk::flood`] has been answered.
    Drained,
    /// Over: the server says BYE.
    Bye(String),
    /// Over: NO or BAD, or a greeting that lets nobody in.
    Refused(String),
    /// Over: no reply that may come here.
    Wrong(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    LoggingIn,
    Selecting,
    /// Logged in, and no command runs.
    Awake,
    /// IDLE was sent.
    Entering,
    Idling,
    /// DONE was sent.
    Ending,
    /// So many commands are without their answer.
    Draining(u32),
    Over,
}

/// A conversation.
#[derive(Debug)]
pub struct Talk {
    state: State,
    replies: Replies,
    /// Of the last command sent.
    tag: u32,
}

impl Default for Talk {
    fn default() -> Self {
        Self { state: State::Greeting, replies: Replies::default(), tag: 0 }
    }
}

impl Talk {
    /// Takes in what was read; then [`Talk::next`] has the events.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.replies.add(bytes);
    }

    /// The next event; `None` when more must be read first, and after the end.
    pub fn next(&mut self) -> Option<Event> {
        while self.state != State::Over {
            let event = match self.replies.next() {
                Ok(Some(reply)) => self.meaning(reply),
                Ok(None) => return None,
                Err(NotImap(text)) => Some(Event::Wrong(text)),
            };
            if matches!(event, Some(Event::Bye(_) | Event::Refused(_) | Event::Wrong(_))) {
                self.state = State::Over;
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    pub fn login(&mut self, user: &User) -> Vec<u8> {
        assert_eq!(self.state, State::Greeting, "LOGIN comes first");
        self.state = State::LoggingIn;
        self.command(&format!("LOGIN {} {}", quoted(&user.name), quoted(&user.password)))
    }

    pub fn select(&mut self, mailbox: &str) -> Vec<u8> {
        assert_eq!(self.state, State::Awake, "SELECT while another command runs");
        self.state = State::Selecting;
        self.command(&format!("SELECT {}", quoted(mailbox)))
    }

    pub fn idle(&mut self) -> Vec<u8> {
        assert_eq!(self.state, State::Awake, "IDLE while another command runs");
        self.state = State::Entering;
        self.command("IDLE")
    }

    pub fn done(&mut self) -> Vec<u8> {
        assert_eq!(self.state, State::Idling, "DONE ends an IDLE (RFC 2177)");
        self.state = State::Ending;
        b"DONE\r\n".to_vec()
    }

    /// Many commands with long answers, in one piece.
    pub fn flood(&mut self, count: u32) -> Vec<u8> {
        assert_eq!(self.state, State::Awake, "a flood while another command runs");
        assert!(count > 0, "a flood of nothing has no end");
        self.state = State::Draining(count);
        (0..count).flat_map(|_| self.command("CAPABILITY")).collect()
    }

    /// The last word; whatever comes after it does not matter.
    pub fn logout(&mut self) -> Vec<u8> {
        assert_eq!(self.state, State::Awake, "LOGOUT while another command runs");
        self.state = State::Over;
        self.command("LOGOUT")
    }

    fn command(&mut self, text: &str) -> Vec<u8> {
        self.tag += 1;
        format!("a{} {text}\r\n", self.tag).into_bytes()
    }

    /// What a reply means in this state; `None`: nothing to anybody.
    fn meaning(&mut self, reply: Reply) -> Option<Event> {
        match reply {
            Reply::Other => None,
            Reply::Bye(text) => Some(Event::Bye(text)),
            Reply::Exists(count) => {
                matches!(self.state, State::Idling | State::Ending).then_some(Event::Exists(count))
            }
            Reply::Greeting { ok: true, .. } => Some(Event::Greeted),
            Reply::Greeting { ok: false, text } => Some(Event::Refused(text)),
            Reply::Continue if self.state == State::Entering => {
                self.state = State::Idling;
                Some(Event::Idling)
            }
            Reply::Continue => Some(Event::Wrong("+ without a question".to_owned())),
            Reply::Tagged { tag, ok, text } => self.end_of_command(&tag, ok, text),
        }
    }

    fn end_of_command(&mut self, tag: &str, ok: bool, text: String) -> Option<Event> {
        let waits_for = match self.state {
            State::Draining(left) => self.tag + 1 - left,
            _ => self.tag,
        };
        if tag.strip_prefix('a').and_then(|tag| tag.parse().ok()) != Some(waits_for) {
            return Some(Event::Wrong(format!("tag {tag} instead of a{waits_for}: {text}")));
        }
        if !ok {
            return Some(Event::Refused(text));
        }
        let (next, event) = match self.state {
            State::LoggingIn => (State::Awake, Some(Event::LoggedIn)),
            State::Selecting => (State::Awake, Some(Event::Selected)),
            State::Ending => (State::Awake, Some(Event::Awake)),
            State::Draining(1) => (State::Awake, Some(Event::Drained)),
            State::Draining(left) => (State::Draining(left - 1), None),
            State::Greeting | State::Awake | State::Entering | State::Idling | State::Over => {
                (State::Over, Some(Event::Wrong(format!("{tag} OK too early: {text}"))))
            }
        };
        self.state = next;
        event
    }
}

/// A quoted string (RFC 3501, section 9). The text was checked to be printable ASCII.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        let _ = out.write_char(char);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(talk: &mut Talk, text: &str) -> Vec<Event> {
        talk.hear(text.as_bytes());
        std::iter::from_fn(|| talk.next()).collect()
    }

    /// A conversation that idles.
    fn idling() -> Talk {
        let mut talk = Talk::default();
        let user = User { name: "a\"b".to_owned(), password: "p\\w".to_owned() };
        assert_eq!(hears(&mut talk, "* OK hello\r\n"), [Event::Greeted]);
        assert_eq!(talk.login(&user), b"a1 LOGIN \"a\\\"b\" \"p\\\\w\"\r\n");
        assert_eq!(hears(&mut talk, "* CAPABILITY IMAP4rev1\r\na1 OK in\r\n"), [Event::LoggedIn]);
        assert_eq!(talk.select("INBOX"), b"a2 SELECT \"INBOX\"\r\n");
        assert_eq!(hears(&mut talk, "* 3 EXISTS\r\na2 OK ok\r\n"), [Event::Selected]);
        assert_eq!(talk.idle(), b"a3 IDLE\r\n");
        assert_eq!(hears(&mut talk, "+ idling\r\n"), [Event::Idling]);
        assert_eq!(talk.state, State::Idling);
        talk
    }

    #[test]
    fn a_client_logs_in_idles_and_leaves() {
        let mut talk = idling();
        assert_eq!(hears(&mut talk, "* OK Still here\r\n* 4 EXISTS\r\n"), [Event::Exists(4)]);
        assert_eq!(talk.done(), b"DONE\r\n");
        let events = hears(&mut talk, "* 5 EXISTS\r\na3 OK done\r\n");
        assert_eq!(events, [Event::Exists(5), Event::Awake]);
        assert_eq!(talk.logout(), b"a4 LOGOUT\r\n");
        assert_eq!(hears(&mut talk, "* BYE bye\r\na4 OK ok\r\n"), [], "nothing counts any more");
    }

    #[test]
    fn an_idle_that_ends_by_itself_is_wrong() {
        let events = hears(&mut idling(), "a3 OK done\r\n* 9 EXISTS\r\n");
        assert_eq!(events, [Event::Wrong("a3 OK too early: done".to_owned())]);
        let events = hears(&mut idling(), "+ again\r\n");
        assert!(matches!(events[..], [Event::Wrong(_)]), "{events:?}");
        let mut talk = idling();
        talk.done();
        let events = hears(&mut talk, "a2 OK done\r\n");
        assert_eq!(events, [Event::Wrong("tag a2 instead of a3: done".to_owned())]);
    }

    #[test]
    fn a_refusal_and_a_bye_end_it() {
        let mut talk = idling();
        talk.done();
        assert_eq!(hears(&mut talk, "a3 BAD what\r\n"), [Event::Refused("what".to_owned())]);
        assert_eq!(hears(&mut idling(), "* BYE gone\r\n"), [Event::Bye("gone".to_owned())]);
        let events = hears(&mut Talk::default(), "* BYE too many\r\n");
        assert_eq!(events, [Event::Refused("too many".to_owned())]);
        assert!(matches!(hears(&mut idling(), "\0\0\r\n")[..], [Event::Wrong(_)]));
    }

    #[test]
    fn a_flood_is_over_with_its_last_answer_and_keeps_its_order() {
        let mut talk = idling();
        talk.done();
        hears(&mut talk, "a3 OK ok\r\n");
        assert_eq!(talk.flood(2), b"a4 CAPABILITY\r\na5 CAPABILITY\r\n");
        let answer = "* CAPABILITY IMAP4rev1\r\n";
        assert_eq!(hears(&mut talk, &format!("{answer}a4 OK ok\r\n{answer}")), []);
        assert_eq!(hears(&mut talk, "a5 OK ok\r\n"), [Event::Drained]);
        talk.flood(2);
        let events = hears(&mut talk, "a7 OK mixed up\r\n");
        assert_eq!(events, [Event::Wrong("tag a7 instead of a6: mixed up".to_owned())]);
    }
}
