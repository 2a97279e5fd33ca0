//! A mail server that takes everything: where the clients bring what they have fetched.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

/// Speaks as much SMTP (RFC 5321) as a delivery takes, on a port of its own.
pub struct Sink {
    pub port: u16,
    subjects: Receiver<String>,
}

impl Sink {
    /// Opens it; it serves until the process ends.
    ///
    /// # Errors
    /// No port is free.
    pub fn open() -> io::Result<Sink> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (sender, subjects) = unbounded();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || serve(&stream, &sender));
            }
        });
        Ok(Sink { port, subjects })
    }

    /// The subject of the next mail that arrives.
    ///
    /// # Errors
    /// None arrives in time.
    pub fn next(&self, within: Duration) -> Result<String, RecvTimeoutError> {
        self.subjects.recv_timeout(within)
    }
}

fn serve(mut stream: &TcpStream, subjects: &Sender<String>) -> io::Result<()> {
    stream.write_all(b"220 sink\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next() {
        let line = line?.to_ascii_uppercase();
        let reply: &[u8] = match line.get(..4).unwrap_or_default() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                for line in lines.by_ref() {
                    let line = line?;
                    if let Some(subject) = line.strip_prefix("Subject: ") {
                        let _ = subjects.send(subject.to_owned());
                    }
                    if line == "." {
                        break;
                    }
                }
                b"250 taken\r\n"
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => b"250 yes\r\n",
        };
        stream.write_all(reply)?;
    }
    Ok(())
}
