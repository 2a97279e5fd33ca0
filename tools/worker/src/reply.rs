//! The tagged line that ends a command.

use std::borrow::Cow;
use std::io::{self, Write};

use torpor_store::StoreError;

use crate::view::BadSet;

/// `OK`, `NO` or `BAD`, perhaps a code, and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: Status,
    code: Cow<'static, str>,
    text: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    No,
    Bad,
}

impl Reply {
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Ok, code: "".into(), text: text.into() }
    }

    pub fn no(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::No, code: "".into(), text: text.into() }
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Bad, code: "".into(), text: text.into() }
    }

    /// With a response code, without its brackets; an empty one is none.
    pub fn code(self, code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), ..self }
    }

    /// With this code, if it has none.
    pub fn or_code(self, code: String) -> Self {
        if self.code.is_empty() { self.code(code) } else { self }
    }

    /// For messages that others have expunged, but this client has not been told of (RFC 2180, 4).
    pub fn no_expunged() -> Self {
        Self::no("Some of the requested messages no longer exist.").code("EXPUNGEISSUED")
    }

    pub fn is_bad(&self) -> bool {
        self.status == Status::Bad
    }

    /// Writes the line, with `*` for a tag that could not be read.
    pub fn write(&self, out: &mut impl Write, tag: Option<&str>) -> io::Result<()> {
        let status = match self.status {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        };
        write!(out, "{} {status} ", tag.unwrap_or("*"))?;
        if !self.code.is_empty() {
            write!(out, "[{}] ", self.code)?;
        }
        write!(out, "{}\r\n", self.text)
    }
}

impl From<BadSet> for Reply {
    fn from(set: BadSet) -> Self {
        Self::bad(format!("{set}."))
    }
}

/// Codes of RFC 5530. What is nobody's business but the admin's goes to the log alone.
impl From<&StoreError> for Reply {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Exists => Self::no("Mailbox already exists.").code("ALREADYEXISTS"),
            StoreError::NotFound => Self::no("Mailbox doesn't exist.").code("NONEXISTENT"),
            StoreError::Expunged => Self::no_expunged(),
            StoreError::NoSpace => Self::no("Not enough disk space.").code("OVERQUOTA"),
            StoreError::BadName { .. } => Self::no("Invalid mailbox name.").code("CANNOT"),
            _ => Self::no("Internal error occurred.").code("SERVERBUG"),
        }
    }
}
