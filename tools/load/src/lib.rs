//! Loads an IMAP server with clients that idle, and shows what they saw.
//!
//! ```text
//!  plan ──> run ──Brief, Order──> crew ──> play ──> seats ──> the server
//!            │  <──Word, Ledger──   │  <── floor ──   │            ▲
//!            ▼                      │                 talk ─ reply  │
//!  outcome ──> summary, report     postman ──────────────────────────┘
//! ```
//! A run has acts (log in, hold, storm, check). For each it starts all crews together, adds up
//! their ledgers and gives the server time to settle. A crew is a process with one ring and some
//! thousands of seats; a seat is one client. Nothing is estimated: every client and every
//! question has exactly one end in the ledger, and a ledger that does not balance is an error.
//!
//! Beside it stand [`peer`], clients without sockets, and [`stand_in`], the worker that puts them
//! to sleep with a torpor: so that what the machine has in use is the server's alone.

mod floor;
mod ledger;
mod midway;
mod moments;
mod outcome;
mod play;
mod reason;
mod reply;
mod seat;
mod share;
mod show;
mod talk;
mod times;
mod wire;

pub mod act;
pub mod crew;
pub mod machine;
pub mod peer;
pub mod plan;
pub mod post;
pub mod report;
pub mod run;
pub mod stand_in;
pub mod summary;
pub mod users;
pub mod watch;

pub use outcome::Outcome;
