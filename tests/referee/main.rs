//! Dovecot as the referee: the same mails and commands go to it and to the built-in worker, and
//! the answers must mean the same. Where the RFCs leave a choice, `masks.rs` says so, and why.

mod corpus;
mod fetch;
mod masks;
mod place;
mod search;
mod session;
mod talk;
mod value;
