//! Delivery by APPEND (RFC 3501, section 6.3.11), in a session of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::reply::{NotImap, Replies, Reply};
use crate::talk::quoted;
use crate::users::User;

/// Logs in and delivers; `visible` is called when the server is about to get the text.
///
/// # Errors
/// No connection, or the server refuses; the error holds its words.
pub fn deliver(
    server: SocketAddr,
    user: &User,
    mailbox: &str,
    message: &str,
    visible: impl FnOnce(),
) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&server, REPLY_WITHIN)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(REPLY_WITHIN))?;
    let mut session = Session { stream, replies: Replies::default() };
    session.until(|reply| matches!(reply, Reply::Greeting { ok: true, .. }))?;
    session.say(&format!("a1 LOGIN {} {}\r\n", quoted(&user.name), quoted(&user.password)))?;
    session.until(|reply| is_ok(reply, "a1"))?;
    session.say(&format!("a2 APPEND {} {{{}}}\r\n", quoted(mailbox), message.len()))?;
    session.until(|reply| *reply == Reply::Continue)?;
    visible();
    session.say(&format!("{message}\r\n"))?;
    session.until(|reply| is_ok(reply, "a2"))?;
    session.say("a3 LOGOUT\r\n")
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
