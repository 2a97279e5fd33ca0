//! A small blocking IMAP client that shows every byte.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::stream::{Endpoint, Stream};
use super::transcript::{Side, Transcript};

/// One connection to an IMAP server. It reads lines, not literals: those of a literal's text
/// come out as lines like any other.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
    transcript: Transcript,
    tags: u32,
}

impl Client {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// No connection, or another greeting than `* OK` or `* PREAUTH`.
    pub fn connect(endpoint: Endpoint) -> io::Result<Client> {
        let stream = Stream::connect(endpoint)?;
        let transcript = Transcript::new();
        let mut client = Client { stream, unread: Vec::new(), transcript, tags: 0 };
        let greeting = client.line(REPLY_WITHIN)?.unwrap_or_default();
        if greeting.starts_with("* OK") || greeting.starts_with("* PREAUTH") {
            return Ok(client);
        }
        Err(io::Error::other(format!("greeting: {greeting:?}")))
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// As [`Client::connect`], or the login was refused.
    pub fn login(endpoint: Endpoint, user: &str, password: &str) -> io::Result<Client> {
        let mut client = Client::connect(endpoint)?;
        client.command(&format!("LOGIN {user} {password}"))?;
        Ok(client)
    }

    /// Logs in, selects INBOX and idles; returns the tag of the running IDLE with the client.
    ///
    /// # Errors
    /// The server refused one of the three.
    pub fn asleep(endpoint: Endpoint, user: &str) -> io::Result<(Client, String)> {
        let mut client = Client::login(endpoint, user, "pw")?;
        client.command("SELECT INBOX")?;
        let tag = client.idle()?;
        Ok((client, tag))
    }

    /// Sends one command and returns the lines up to its `OK`, that one included.
    ///
    /// # Errors
    /// No tagged reply in time, or another one than `OK`.
    pub fn command(&mut self, text: &str) -> io::Result<Vec<String>> {
        let tag = self.next_tag();
        self.send(format!("{tag} {text}\r\n").as_bytes())?;
        let lines = self.expect(&format!("{tag} "), REPLY_WITHIN)?;
        match lines.last() {
            Some(line) if line.starts_with(&format!("{tag} OK")) => Ok(lines),
            last => Err(io::Error::other(format!("{text}: {}", last.map_or("", |line| line)))),
        }
    }

    /// Sends IDLE and waits for the continuation; returns its tag.
    ///
    /// # Errors
    /// The server does not go into IDLE.
    pub fn idle(&mut self) -> io::Result<String> {
        let tag = self.next_tag();
        self.send(format!("{tag} IDLE\r\n").as_bytes())?;
        self.expect("+ ", REPLY_WITHIN)?;
        Ok(tag)
    }

    /// Ends the IDLE of `tag` and returns the lines up to its `OK`, that one included.
    ///
    /// # Errors
    /// No `OK` in time.
    pub fn done(&mut self, tag: &str) -> io::Result<Vec<String>> {
        self.send(b"DONE\r\n")?;
        self.expect(&format!("{tag} OK"), REPLY_WITHIN)
    }

    /// The next tag this client would take.
    pub fn next_tag(&mut self) -> String {
        self.tags += 1;
        format!("a{}", self.tags)
    }

    /// Sends exactly these bytes, in one piece.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        self.transcript.add(Side::Client, bytes);
        Ok(())
    }

    /// Sends the pieces one by one, with a pause after each but the last.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send_pieces(&mut self, pieces: &[&[u8]], pause: Duration) -> io::Result<()> {
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                thread::sleep(pause);
            }
            self.send(piece)?;
        }
        Ok(())
    }

    /// The next line without its CRLF; `None` when the server has closed.
    ///
    /// # Errors
    /// `TimedOut` when there is no whole line within the time; else the connection is broken.
    pub fn line(&mut self, within: Duration) -> io::Result<Option<String>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(Some(String::from_utf8_lossy(line).into_owned()));
            }
            if self.fill(deadline)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads lines through the first that starts with `prefix`.
    ///
    /// # Errors
    /// None came within the time, or the server closed; the error says what came instead.
    pub fn expect(&mut self, prefix: &str, within: Duration) -> io::Result<Vec<String>> {
        self.expect_that(&format!("{prefix:?}"), within, |line| line.starts_with(prefix))
    }

    /// Reads lines through the first that `fits`; `what` names it in the error.
    ///
    /// # Errors
    /// As [`Client::expect`].
    pub fn expect_that(
        &mut self,
        what: &str,
        within: Duration,
        fits: impl Fn(&str) -> bool,
    ) -> io::Result<Vec<String>> {
        let deadline = Instant::now() + within;
        let mut lines: Vec<String> = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let kind = match self.line(left) {
                Ok(Some(line)) => {
                    lines.push(line);
                    if lines.last().is_some_and(|line| fits(line)) {
                        return Ok(lines);
                    }
                    continue;
                }
                Ok(None) => io::ErrorKind::UnexpectedEof,
                Err(error) => error.kind(),
            };
            let text = format!("waited for {what}: {kind} after {lines:?}");
            return Err(io::Error::new(kind, text));
        }
    }

    /// Every line that comes until the server is silent for `quiet` or closes; the flag says
    /// that it closed.
    ///
    /// # Errors
    /// The connection broke otherwise than by an orderly close or a reset.
    pub fn drain(&mut self, quiet: Duration) -> io::Result<(Vec<String>, bool)> {
        let mut lines = Vec::new();
        loop {
            match self.line(quiet) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return Ok((lines, true)),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok((lines, false)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok((lines, true));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the sending half only.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.half_close()
    }

    /// Breaks the connection with a reset.
    ///
    /// # Errors
    /// The socket refuses to be set up for it.
    pub fn reset(self) -> io::Result<()> {
        setsockopt(self.stream.tcp(), sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
        Ok(())
    }

    /// All bytes so far.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The TCP connection below, for socket options and polls.
    pub fn tcp(&self) -> &std::net::TcpStream {
        self.stream.tcp()
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        loop {
            // A timeout of zero would mean none at all.
            let left = deadline.saturating_duration_since(Instant::now());
            self.stream.tcp().set_read_timeout(Some(left.max(Duration::from_micros(100))))?;
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    if count > 0 {
                        self.transcript.add(Side::Server, &buffer[..count]);
                        self.unread.extend_from_slice(&buffer[..count]);
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= deadline {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "no line in time"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

const REPLY_WITHIN: Duration = Duration::from_secs(30);
