//! Delivery by LMTP (RFC 2033).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::LmtpPlace;

/// Delivers one message; `visible` is called when the server is about to take it.
///
/// # Errors
/// No connection, or the server refuses; the error holds its words.
pub fn deliver(
    to: &LmtpPlace,
    recipient: &str,
    message: &str,
    visible: impl FnOnce(),
) -> io::Result<()> {
    assert!(!message.contains("\r\n."), "a line with a dot in front would need two");
    let mut session = Session { stream: BufReader::new(connect(to)?) };
    session.expect("220")?;
    session.command("LHLO localhost", "250")?;
    session.command("MAIL FROM:<>", "250")?;
    session.command(&format!("RCPT TO:<{recipient}>"), "250")?;
    session.command("DATA", "354")?;
    session.stream.get_mut().write_all(message.as_bytes())?;
    visible();
    // With one recipient there is one reply to the dot.
    session.command(".", "250")?;
    // The mail is delivered, whatever becomes of a polite goodbye.
    let _ = session.command("QUIT", "221");
    Ok(())
}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
}

trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

impl Session {
    fn command(&mut self, text: &str, code: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes())?;
        self.expect(code)
    }

    /// Reads a reply of one or more lines (RFC 5321, section 4.2.1).
    fn expect(&mut self, code: &str) -> io::Result<()> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !line.starts_with(code) {
                return Err(io::Error::other(format!("LMTP: {}", line.trim_end())));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

fn connect(to: &LmtpPlace) -> io::Result<Box<dyn Stream>> {
    match to {
        LmtpPlace::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, REPLY_WITHIN)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(REPLY_WITHIN))?;
            Ok(Box::new(stream))
        }
        LmtpPlace::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(REPLY_WITHIN))?;
            Ok(Box::new(stream))
        }
    }
}

const REPLY_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Plays a server that answers the commands with these replies, and returns what it heard.
    fn server(replies: &'static [&'static str]) -> (LmtpPlace, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let place = LmtpPlace::Tcp(listener.local_addr().expect("it has one"));
        let heard = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut stream = BufReader::new(stream);
            let mut all = String::new();
            for (at, reply) in replies.iter().enumerate() {
                if at > 0 {
                    let from = all.len();
                    stream.read_line(&mut all).expect("a line");
                    // The mail itself, up to its dot.
                    while at == 5 && !all[from..].ends_with("\r\n.\r\n") {
                        stream.read_line(&mut all).expect("a line");
                    }
                }
                stream.get_mut().write_all(reply.as_bytes()).expect("a reply");
            }
            all
        });
        (place, heard)
    }

    #[test]
    fn a_mail_is_delivered_with_its_dot() {
        let (place, heard) = server(&[
            "220 hello\r\n",
            "250-me\r\n250 PIPELINING\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go on\r\n",
            "250 saved\r\n",
            "221 bye\r\n",
        ]);
        let mut seen = false;
        let mail = "Subject: a\r\n\r\nb\r\n";
        deliver(&place, "u1@x", mail, || seen = true).expect("it is taken");
        let heard = heard.join().expect("the server ran");
        assert!(seen && heard.contains("RCPT TO:<u1@x>\r\nDATA\r\nSubject: a\r\n\r\nb\r\n.\r\n"));
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let (place, heard) = server(&["220 a\r\n", "250 b\r\n", "250 c\r\n", "550 who?\r\n"]);
        let unseen = || panic!("nobody will see it");
        let error = deliver(&place, "u1@x", "b\r\n", unseen).expect_err("it is refused");
        assert_eq!(error.to_string(), "LMTP: 550 who?");
        heard.join().expect("the server ran");
    }
}
