//! The line with which we give a client back, for every Dovecot at once.
//!
//! The words of the hibernate line are forwarded as they came, but for the order of blocks inside
//! `state`: `imap-master` ignores what it does not know, in every version, so keys of a later
//! Dovecot survive as well. Dropped are the words
//! that were for us alone, and the words that only we may say: a worker that wrote `client_input`
//! into its hibernate line must not be able to put commands into somebody's session.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::escape_into;
use super::field::{decimal, fields, key_value};
use super::state::push_state;

/// What happened while the client slept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakeup<'a> {
    /// Wall clock at which the client was accepted, in microseconds since the epoch.
    pub hibernation_started_us: u64,
    /// The tag of an IDLE that began in the sleep, not escaped; `None` = as received.
    pub tag: Option<&'a [u8]>,
    /// Bytes read from the client and not answered by us; the worker reads them first.
    pub client_input: &'a [u8],
    /// The rest of an output that was cut short; the worker writes it first. Not to be used
    /// together with `multiplex_ostream`, whose framing the worker would not know.
    pub client_output: &'a [u8],
    /// IDLE goes on: DONE, if it came, lies in `client_input`.
    pub idle_continue: bool,
    /// Bytes that we consumed ourselves, `client_input` not counted.
    pub input_bytes: u64,
    /// Payload bytes that we wrote to the client, framing not counted.
    pub output_bytes: u64,
}

/// Pushes the request line, LF included. `line` is one that `HibernateLine::parse` has accepted.
pub fn render(out: &mut Vec<u8>, line: &[u8], wakeup: &Wakeup<'_>) {
    let start = out.len();
    let mut all = fields(line);
    let username = all.next().expect("a parsed line has a username");
    let _log_prefix = all.next().expect("a parsed line has a log prefix");
    out.extend_from_slice(username);
    let (secs, micros) =
        (wakeup.hibernation_started_us / 1_000_000, wakeup.hibernation_started_us % 1_000_000);
    push_number(out, format_args!("\thibernation_started={secs}.{micros:06}"));
    let mut totals = [("input", None, wakeup.input_bytes), ("output", None, wakeup.output_bytes)];
    for (field, (key, value)) in all.map(|field| (field, key_value(field))) {
        match key {
            // Of a repeated counter the last is the one that holds; it comes out once.
            b"input_bytes_extra" => totals[0].1 = decimal(value),
            b"output_bytes_extra" => totals[1].1 = decimal(value),
            b"" => {}
            b"tag" if wakeup.tag.is_some() => {}
            b"state" => {
                out.extend_from_slice(b"\tstate=");
                push_state(out, value);
            }
            _ if DROPPED.contains(&key) => {}
            _ => {
                out.push(b'\t');
                out.extend_from_slice(field);
            }
        }
    }
    for (name, total, more) in totals {
        if let Some(total) = total {
            let total = u64::saturating_add(total, more);
            push_number(out, format_args!("\t{name}_bytes_extra={total}"));
        }
    }
    if let Some(tag) = wakeup.tag {
        out.extend_from_slice(b"\ttag=");
        escape_into(out, tag);
    }
    push_base64(out, b"\tclient_input=", wakeup.client_input);
    push_base64(out, b"\tclient_output=", wakeup.client_output);
    if wakeup.idle_continue {
        out.extend_from_slice(b"\tidle-continue");
    }
    out.push(b'\n');
    assert!(out.len() - start <= rendered_bytes_max(line.len(), wakeup));
    assert!(!out[start..out.len() - 1].contains(&b'\n'));
}

/// The capacity that `render` may need for a line of `line_bytes`.
pub fn rendered_bytes_max(line_bytes: usize, wakeup: &Wakeup<'_>) -> usize {
    let base64 = |bytes: &[u8]| bytes.len().div_ceil(3) * 4;
    line_bytes
        + 2 * wakeup.tag.unwrap_or_default().len()
        + base64(wakeup.client_input)
        + base64(wakeup.client_output)
        + OWN_BYTES_MAX
}

fn push_base64(out: &mut Vec<u8>, key: &[u8], bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    out.extend_from_slice(key);
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("room was made for it");
    assert_eq!(written, out.len() - start);
}

fn push_number(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a Vec cannot fail");
}

/// For us alone (first two rows), or ours to say (last row).
const DROPPED: [&[u8]; 12] = [
    b"idle_notify_interval",
    b"uid",
    b"gid",
    b"mailbox",
    b"stats",
    b"idle-cmd",
    b"notify_fd",
    b"hibernation_started",
    b"client_input",
    b"client_output",
    b"bad-done",
    b"idle-continue",
];

/// `hibernation_started` 42, the other key texts 48, two counters that grow by 19 digits each, LF.
const OWN_BYTES_MAX: usize = 160;
