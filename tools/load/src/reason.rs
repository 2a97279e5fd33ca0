//! Why a client, or an answer, was lost.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// A reason; texts are the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// BYE, with its text.
    Bye(String),
    /// The connection was closed without a word.
    Closed,
    /// The connection broke; the kernel's name for it.
    Broken(String),
    /// No connection could be made.
    Unconnected(String),
    /// The delivery failed, so that there was nothing to tell.
    Undelivered(String),
    /// NO or BAD, with its text.
    Refused(String),
    /// The connection was reset.
    Reset,
    /// No answer within the time.
    Timeout,
    /// Not the answer that IMAP has for this place.
    Wrong(String),
}

impl Reason {
    /// What an error on an established connection means.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::TimedOut => Self::Timeout,
            kind => Self::Broken(kind.to_string()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bye(text) => write!(f, "BYE {text}"),
            Self::Closed => f.write_str("closed without a word"),
            Self::Broken(text) => write!(f, "broken: {text}"),
            Self::Unconnected(text) => write!(f, "no connection: {text}"),
            Self::Undelivered(text) => write!(f, "mail not delivered: {text}"),
            Self::Refused(text) => write!(f, "refused: {text}"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Wrong(text) => write!(f, "wrong answer: {text}"),
        }
    }
}
