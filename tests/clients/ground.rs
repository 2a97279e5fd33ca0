//! What a client connects to: a Dovecot with torpor beside it, or torpor alone.

use std::path::PathBuf;

use torpor::dovecot::{Dovecot, Endpoint, Mailbox, Options, Version};
use torpor::own::Own;

use crate::binary;
use crate::torpor_process::Torpor;

/// A server with one user, who sleeps as soon as can be. Dropping it ends it.
pub enum Ground {
    /// The torpor ends before the Dovecot, so that its sleepers get their BYE.
    Beside {
        torpor: Torpor,
        dovecot: Box<Dovecot>,
        tls: bool,
    },
    Alone(Own),
}

impl Ground {
    /// Over TLS or plain.
    pub fn dovecot(tls: bool) -> Ground {
        let binary = binary::release().expect("torpor builds");
        let options = Options { users: 1, ..Options::new(Version::V23) };
        let dovecot = Box::new(Dovecot::start(&options).expect("a private Dovecot starts"));
        let torpor = Torpor::start(&binary, &dovecot.base_dir()).expect("torpor starts");
        Ground::Beside { torpor, dovecot, tls }
    }

    pub fn own() -> Ground {
        let binary = binary::release().expect("torpor builds");
        let config = format!("hibernate_after_ms = {HIBERNATE_AFTER_MS}\n");
        Ground::Alone(Own::start(&binary, 1, &config).expect("torpor starts"))
    }

    pub fn endpoint(&self) -> Endpoint {
        match self {
            Ground::Beside { dovecot, tls, .. } => dovecot.endpoint(*tls),
            Ground::Alone(own) => own.endpoint(),
        }
    }

    pub fn mailbox(&self, user: &str) -> Mailbox {
        match self {
            Ground::Beside { dovecot, .. } => dovecot.mailbox(user),
            Ground::Alone(own) => own.mailbox(user),
        }
    }

    /// Where torpor's sockets are.
    pub fn base_dir(&self) -> PathBuf {
        match self {
            Ground::Beside { dovecot, .. } => dovecot.base_dir(),
            Ground::Alone(own) => own.base_dir(),
        }
    }

    /// A folder for the client, removed with the server.
    pub fn client_dir(&self) -> PathBuf {
        let dir = match self {
            Ground::Beside { dovecot, .. } => dovecot.dir().join("client"),
            Ground::Alone(own) => own.maildir().with_file_name("client"),
        };
        std::fs::create_dir(&dir).expect("a folder for the client");
        dir
    }

    /// The engine's process.
    pub fn torpor_pid(&self) -> i32 {
        match self {
            Ground::Beside { torpor, .. } => torpor.pid(),
            Ground::Alone(own) => own.pid(),
        }
    }
}

/// Dovecot's shortest is a second.
const HIBERNATE_AFTER_MS: u32 = 200;
