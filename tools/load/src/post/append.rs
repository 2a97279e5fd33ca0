//! Delivery by APPEND (RFC 3501, section 6.3.11), in a session of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::reply::{NotImap, Replies, Reply};
use crate::talk::quoted;
use crate::users::User;

/// What an APPEND needs. Nothing is done beforehand: a session for each waiting mail would be a
/// second load on the server.
pub struct Staged {
    server: SocketAddr,
    user: User,
    mailbox: String,
    message: &'static str,
}

impl Staged {
    pub fn new(server: SocketAddr, user: &User, mailbox: &str, message: &'static str) -> Self {
        Self { server, user: user.clone(), mailbox: mailbox.to_owned(), message }
    }

    /// Logs in and delivers; `visible` is called when the server is about to get the text.
    ///
    /// # Errors
    /// No connection, or the server refuses; the error holds its words.
    pub fn release(self, visible: impl FnOnce()) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&self.server, REPLY_WITHIN)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        let mut session = Session { stream, replies: Replies::default() };
        session.until(|reply| matches!(reply, Reply::Greeting { ok: true, .. }))?;
        let (name, password) = (quoted(&self.user.name), quoted(&self.user.password));
        session.say(&format!("a1 LOGIN {name} {password}\r\n"))?;
        session.until(|reply| is_ok(reply, "a1"))?;
        let (mailbox, bytes) = (quoted(&self.mailbox), self.message.len());
        session.say(&format!("a2 APPEND {mailbox} {{{bytes}}}\r\n"))?;
        session.until(|reply| *reply == Reply::Continue)?;
        visible();
        session.say(&format!("{}\r\n", self.message))?;
        session.until(|reply| is_ok(reply, "a2"))?;
        session.say("a3 LOGOUT\r\n")
    }
}

fn is_ok(reply: &Reply, mine: &str) -> bool {
    matches!(reply, Reply::Tagged { tag, ok: true, .. } if tag == mine)
}

struct Session {
    stream: TcpStream,
    replies: Replies,
}

impl Session {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Reads replies through the first that `fits`; data and untagged ones are passed over.
    fn until(&mut self, fits: impl Fn(&Reply) -> bool) -> io::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            match self.replies.next() {
                Ok(Some(reply)) if fits(&reply) => return Ok(()),
                Ok(Some(Reply::Other | Reply::Exists(_))) => {}
                Ok(Some(reply)) => return Err(io::Error::other(format!("APPEND: {reply:?}"))),
                Err(NotImap(text)) => return Err(io::Error::other(format!("APPEND: {text}"))),
                Ok(None) => match self.stream.read(&mut buffer)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => self.replies.add(&buffer[..count]),
                },
            }
        }
    }
}

const REPLY_WITHIN: Duration = Duration::from_secs(30);
