//! The built-in imap worker: IMAP4rev1 over Maildir, one process per awake client.
//!
//! # How it is started
//! `torpor worker` is spawned by the front in one of two ways. In both, descriptor 0 is a stream
//! socket, descriptor 1 gets one line (`pid TAB user TAB session TAB remote ip LF`, tab-escaped) as
//! soon as the worker knows its client, descriptor 2 gets log lines; nothing else is inherited.
//!
//! ```text
//! torpor worker --base-dir DIR [--hibernate-after-ms N] [--keepalive-secs N]
//!     --user U --home DIR --session ID --tag TAG
//!     [--created SECS] [--lip IP] [--lport N] [--rip IP] [--rport N] [--input BASE64]
//! ```
//! *Fresh*: descriptor 0 is the client's socket, just logged in. The worker itself sends
//! `TAG OK [CAPABILITY …] Logged in`, then reads `--input` (what the client pipelined behind its
//! login, standard base64 with padding) and the socket.
//!
//! ```text
//! torpor worker --base-dir DIR [--hibernate-after-ms N] [--keepalive-secs N] --woken
//! ```
//! *Woken*: descriptor 0 is a connection that was accepted on `DIR/imap-master` (mode 0600).
//! Everything else comes with the request line; `home=` inside of its `userdb_fields` is trusted.
//!
//! | option | meaning |
//! |---|---|
//! | `--base-dir` | where `imap-hibernate` is |
//! | `--hibernate-after-ms` | quiet in IDLE before the hand-over; 0 = never; default 30,000 |
//! | `--keepalive-secs` | between `* OK Still here` in IDLE; 0 = none; default 120 |
//! | `--user` | login name |
//! | `--home` | the user's Maildir++ root; made (0700) if it is not there |
//! | `--session` | session id, for logs and the engine; any text without NUL |
//! | `--tag` | tag of the login command |
//! | `--created` | seconds since the epoch of the login; default now |
//!
//! The socket may be blocking or not. The worker ends with 0 when its client has logged out, gone
//! away or been handed over, with 1 when it could not serve it at all; the reason is on
//! descriptor 2. SIGTERM makes it say `* BYE Server shutting down.` and end with 0. It never
//! shuts down a client that it has handed over.
//!
//! # Reading order
//! [`run`] (the two ways to begin), [`session`] (one client), `command` (what it may say),
//! [`sync`](mod@sync) and [`view`] (what it is told, what it knows), [`intake`] and [`link`] (how
//! it is read), `hibernate`, [`unhibernate`], `resume` and [`state`] (how it sleeps).

pub mod account;
mod badge;
mod command;
mod encode;
mod end;
mod features;
mod fetch;
mod hibernate;
pub mod intake;
mod limits;
pub mod link;
mod log;
pub mod mail;
mod material;
mod open;
mod ranges;
mod reply;
mod resume;
pub mod run;
mod search;
mod selected;
pub mod session;
pub mod state;
mod stop;
mod sync;
pub mod unhibernate;
pub mod view;
mod watch;

pub use account::{Account, Options};
pub use end::End;
pub use run::{Login, RunError, run_fresh, run_woken};
pub use session::{CAPABILITIES, CAPABILITIES_BEFORE_LOGIN};
