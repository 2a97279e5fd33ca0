//! A client that reads whole responses, literals included.

use std::io::{self, BufRead, BufReader, Read, Write};

/// A connection.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// One conversation with one server.
pub struct Talk {
    stream: BufReader<Box<dyn Stream>>,
    tags: u32,
}

/// What a command brought.
#[derive(Debug)]
pub struct Answer {
    /// Untagged responses without `* ` and their last line end.
    pub untagged: Vec<Vec<u8>>,
    /// The tagged one without its tag.
    pub tagged: String,
}

impl Talk {
    /// Takes a connection over. Nothing is read before the first command.
    pub fn over(stream: impl Stream + 'static) -> Talk {
        Talk { stream: BufReader::new(Box::new(stream)), tags: 0 }
    }

    /// Sends a command and reads all of its answer.
    pub fn command(&mut self, text: &str) -> Answer {
        self.tags += 1;
        let tag = format!("r{} ", self.tags);
        let line = format!("{tag}{text}\r\n");
        self.stream.get_mut().write_all(line.as_bytes()).expect("the server reads");
        let mut untagged = Vec::new();
        loop {
            let response = self.response().expect("the server answers");
            if let Some(tagged) = response.strip_prefix(tag.as_bytes()) {
                return Answer { untagged, tagged: String::from_utf8_lossy(tagged).into_owned() };
            }
            untagged.push(response.strip_prefix(b"* ").unwrap_or(&response).to_vec());
        }
    }

    fn response(&mut self) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            if self.stream.read_until(b'\n', &mut response)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = response.strip_suffix(b"\r\n").expect("lines end with CRLF");
            let Some(size) = announced(line) else {
                response.truncate(response.len() - 2);
                return Ok(response);
            };
            let begin = response.len();
            response.resize(begin + size, 0);
            self.stream.read_exact(&mut response[begin..])?;
        }
    }
}

/// The size of the literal that a line announces at its end.
fn announced(line: &[u8]) -> Option<usize> {
    let text = line.strip_suffix(b"}")?;
    let digits = &text[text.iter().rposition(|byte| *byte == b'{')? + 1..];
    std::str::from_utf8(digits).ok()?.parse().ok()
}
