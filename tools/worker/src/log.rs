//! Lines for the admin, on descriptor 2.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::account::Account;

/// Puts user, process and session in front of every line, like Dovecot's log prefix.
#[derive(Clone, Debug)]
pub struct Log {
    prefix: String,
}

impl Log {
    pub fn new(account: &Account) -> Self {
        Self {
            prefix: format!("imap({})<{}><{}>", account.user, std::process::id(), account.session),
        }
    }

    pub fn info(&self, text: impl Display) {
        self.line("Info", &text);
    }

    pub fn error(&self, text: impl Display) {
        self.line("Error", &text);
    }

    /// One write a line, so that the lines of many workers on one pipe stay whole. Control
    /// characters come from clients, so they are escaped. A log that cannot be written is no
    /// reason to drop a client.
    fn line(&self, level: &str, text: &dyn Display) {
        let text = format!("{}: {level}: {text}", self.prefix);
        let line = text.chars().flat_map(|letter| match letter.is_control() {
            true => letter.escape_default().collect::<Vec<_>>(),
            false => vec![letter],
        });
        let _ = io::stderr().write_all(line.chain(['\n']).collect::<String>().as_bytes());
    }
}
