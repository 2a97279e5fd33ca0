//! Both of Dovecot's hibernation protocols, as text.
//!
//! ```text
//! imap worker ──HibernateLine──► torpor ──unhibernate::render──► imap-master
//!                                      ◄──reply::parse──────────
//! ```
//! Records are lines that end in LF; fields are separated by TAB; a field's bytes are tab-escaped
//! (`escape`). Nothing here allocates: parsing borrows from the caller's line, rendering pushes
//! into the caller's `Vec<u8>`. Facts are those of Dovecot 2.2.36 to 2.4.4.

mod error;
mod escape;
mod field;
mod handshake;
mod hibernate;
mod output;
mod render;
mod reply;
mod request;
mod state;
mod statistics;
pub mod unhibernate;

pub use error::{Excerpt, LineError};
pub use escape::{check_escapes, escape_into, unescape_into};
pub use handshake::{HIBERNATE_VERSION, MASTER_VERSION, check_version};
pub use hibernate::{HibernateLine, Peer};
pub use output::{frame, framed_bytes_max};
pub use reply::{REASON_BYTES_MAX, Reply, parse_reply};
pub use request::MasterRequest;
pub use state::{Modseq, modseq};
pub use statistics::Statistics;
pub use unhibernate::Wakeup;

#[cfg(test)]
mod tests;
