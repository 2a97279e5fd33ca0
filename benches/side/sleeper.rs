//! A mail client that idles, light enough for thousands.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use torpor::dovecot::Options;

/// One logged-in client in IDLE.
pub struct Sleeper {
    stream: TcpStream,
    unread: Vec<u8>,
    tags: u32,
    /// Its login name.
    pub user: String,
}

impl Sleeper {
    /// Logs in as user `number`, selects INBOX and idles.
    ///
    /// # Errors
    /// The server refused one of the three.
    pub fn login(address: SocketAddr, number: u32) -> io::Result<Sleeper> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let user = Options::user(number);
        let mut sleeper = Sleeper { stream, unread: Vec::new(), tags: 0, user };
        sleeper.expect("* OK")?;
        let login = format!("LOGIN {} pw", sleeper.user);
        for command in [&login, "SELECT INBOX"] {
            sleeper.tags += 1;
            let tag = sleeper.tags;
            sleeper.send(format!("a{tag} {command}\r\n").as_bytes())?;
            sleeper.expect(&format!("a{tag} OK"))?;
        }
        sleeper.idle()?;
        sleeper.expect("+ ")?;
        Ok(sleeper)
    }

    /// Sends the next IDLE and does not wait for its continuation.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn idle(&mut self) -> io::Result<()> {
        self.tags += 1;
        self.send(format!("a{} IDLE\r\n", self.tags).as_bytes())
    }

    /// How the answer to `DONE` begins.
    pub fn done_answer(&self) -> String {
        format!("a{} OK", self.tags)
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for the line that begins with `prefix`.
    ///
    /// # Errors
    /// It does not come, or the server closed.
    pub fn expect(&mut self, prefix: &str) -> io::Result<()> {
        loop {
            while let Some(line) = self.line() {
                if line.starts_with(prefix) {
                    return Ok(());
                }
                if line.contains(" NO ") || line.contains(" BAD ") || line.starts_with("* BYE") {
                    return Err(io::Error::other(format!("waited for {prefix:?}, got {line:?}")));
                }
            }
            if self.fill()? == 0 {
                let text = format!("waited for {prefix:?}, the server closed");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
    }

    /// Reads once what has come; 0 bytes: the server closed.
    ///
    /// # Errors
    /// The connection is broken, or nothing comes for long.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// The next whole line among what was read.
    pub fn line(&mut self) -> Option<String> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

const ANSWER_WITHIN: Duration = Duration::from_secs(60);
