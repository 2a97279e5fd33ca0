//! The request line, read: what a worker on `imap-master` gets. For fakes and the built-in worker.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::field::{base64, decimal, fields, invalid, key_value};
use super::{HibernateLine, LineError, check_escapes};

/// A checked request. Base64 values are still encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasterRequest<'a> {
    /// The words of the hibernate line that came back; its log prefix is empty.
    pub line: HibernateLine<'a>,
    /// Microseconds since the epoch.
    pub hibernation_started_us: Option<u64>,
    pub client_input: &'a [u8],
    pub client_output: &'a [u8],
    /// End IDLE with a tagged BAD. We never send it.
    pub bad_done: bool,
    /// Keep IDLE running.
    pub idle_continue: bool,
}

impl<'a> MasterRequest<'a> {
    /// Parses a line that has lost its LF (and a CR before it).
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        assert!(!line.contains(&b'\n'), "the caller splits lines");
        check_escapes(line)?;
        let mut request = Self::default();
        let mut all = fields(line);
        request.line.username =
            all.next().filter(|name| !name.is_empty()).ok_or(LineError::MissingUsername)?;
        for (key, value) in all.map(key_value) {
            match key {
                b"hibernation_started" => request.hibernation_started_us = Some(micros(value)?),
                b"client_input" => request.client_input = base64("client_input", value)?,
                b"client_output" => request.client_output = base64("client_output", value)?,
                b"bad-done" => request.bad_done = true,
                b"idle-continue" => request.idle_continue = true,
                _ => request.line.take(key, value)?,
            }
        }
        assert!(!request.line.username.is_empty());
        Ok(request)
    }

    /// The bytes that the worker has to read before those of the socket.
    pub fn client_input_into(&self, out: &mut Vec<u8>) {
        STANDARD.decode_vec(self.client_input, out).expect("parse() checked it");
    }

    /// The bytes that the worker has to write before its own.
    pub fn client_output_into(&self, out: &mut Vec<u8>) {
        STANDARD.decode_vec(self.client_output, out).expect("parse() checked it");
    }
}

/// `seconds.microseconds`, six digits behind the point.
fn micros(value: &[u8]) -> Result<u64, LineError> {
    let refused = || invalid("hibernation_started", value);
    let point = value.iter().position(|&byte| byte == b'.').ok_or_else(refused)?;
    let fraction = &value[point + 1..];
    let (Some(secs), Some(micros), 6) =
        (decimal(&value[..point]), decimal(fraction), fraction.len())
    else {
        return Err(refused());
    };
    secs.checked_mul(1_000_000).and_then(|secs| secs.checked_add(micros)).ok_or_else(refused)
}
