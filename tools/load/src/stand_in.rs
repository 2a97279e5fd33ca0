//! Both sides of an imap worker, played by us: it puts clients to sleep with a torpor, and takes
//! those that wake. So sleepers can be laid down by the million, without a mail server.
//!
//! ```text
//!  letter ──line──> worker ──> imap-hibernate │ torpor │ imap-master ──> taker
//!  maildirs ─watches──┘
//! ```

pub mod letter;
pub mod maildirs;
pub mod taker;
pub mod worker;
