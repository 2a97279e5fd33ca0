//! Maildir++ mailboxes with an index of UIDs, flags and modseqs that survives a crash.
//!
//! A `Home` is one user's mail: INBOX and the folders beside it. A `Mailbox` is an open one: its
//! messages in memory as of the last `refresh`, about 40 bytes each, and no lock held between
//! calls. The files are the truth about which messages there are and about their system flags,
//! so that mail can be delivered, moved and read by any other Maildir program; the index adds what
//! a Maildir cannot say (UIDs, modseqs, keywords, what was expunged). docs/STORE.md has its format
//! and the order of every change on disk.
//!
//! Promised: a UID is never used twice under one UIDVALIDITY; a process that dies between any
//! two syscalls loses no message; workers that share a mailbox agree.

mod boot;
mod error;
mod file_name;
mod flags;
mod folder;
mod home;
mod index;
mod mailbox;
mod name;
mod validity;

pub use error::StoreError;
pub use flags::{FlagChange, Flags};
pub use home::{Home, Status};
pub use index::Message;
pub use mailbox::{Changed, Mailbox, MessageFile};
pub use name::MailboxName;
