//! Why a session ends, and what can go wrong inside of a command.

use std::io;

use torpor_store::StoreError;

/// Why this process has nothing left to do. The text is what the log says.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The client said LOGOUT.
    #[error("Logged out")]
    LoggedOut,
    /// Client: closed its connection, or it broke.
    #[error("Connection closed{}", cause(.0.as_ref()))]
    Gone(Option<io::Error>),
    /// Client: silent for too long.
    #[error("Disconnected for inactivity")]
    Silent,
    /// Client: does not take what it has asked for.
    #[error("Disconnected for not reading")]
    NotReading,
    /// Client: one malformed command after the other.
    #[error("Too many invalid IMAP commands")]
    Malformed,
    /// Client: announced more than is skipped for it.
    #[error("Literal too large")]
    LiteralTooLarge,
    /// Host: SIGTERM.
    #[error("Server shutting down")]
    Stopped,
    /// Host: the selected mailbox is not what it was.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// The client sleeps in the engine; its connection is not ours any more.
    #[error("Hibernated")]
    HandedOver,
}

impl End {
    /// What the client is told, if it can still be told.
    pub fn bye(&self) -> Option<String> {
        match self {
            End::LoggedOut | End::Gone(_) | End::NotReading | End::HandedOver => None,
            _ => Some(format!("{self}.")),
        }
    }
}

fn cause(error: Option<&io::Error>) -> String {
    error.map(|error| format!(": {error}")).unwrap_or_default()
}

/// What stops a command: the end of the session, or a mailbox that says no.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    End(#[from] End),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The link reports its ends through `io::Error`, since it is a reader and a writer to others.
impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.downcast::<End>() {
            Ok(end) => end,
            Err(error) => End::Gone(Some(error)),
        }
    }
}

impl From<End> for io::Error {
    fn from(end: End) -> Self {
        io::Error::other(end)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::End(error.into())
    }
}
