//! A private Dovecot in a folder, mail clients that talk to it, and mail delivered to it.
//!
//! The demo, the tests and the benches all stand on this module. It needs root, because Dovecot
//! does, and it leaves nothing behind: the server ends when its handle or its process does.

mod client;
mod config;
mod mail;
mod options;
mod process;
mod server;
mod stream;
mod torpor;
mod transcript;

pub use client::Client;
pub use mail::{Mailbox, Staged};
pub use options::{Options, Owner, Version};
pub use process::{Process, raise_open_files};
pub use server::Dovecot;
pub use stream::Endpoint;
pub use torpor::Torpor;
pub(crate) use torpor::greets;
pub use transcript::{Entry, Side, Transcript};
