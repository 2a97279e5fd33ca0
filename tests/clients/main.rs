//! Five mail clients that nobody here wrote, each through cycles of idling, sleeping, waking and
//! fetching, on a Dovecot with torpor beside it and on torpor alone. That a cycle really went
//! through torpor is read from its statistics. Two more, which do not idle, move whole mailboxes to
//! and fro.
//!
//! `TORPOR_CYCLES` sets the number of cycles (5; 20 with `tests/run --nightly`).

#[path = "../../benches/side/binary.rs"]
mod binary;
mod cycle;
mod ground;
mod programs;
mod sink;
mod sync;
#[path = "../../benches/side/torpor.rs"]
mod torpor_process;

use ground::Ground;

#[test]
fn pullimap() {
    cycle::run(programs::pullimap, &Ground::dovecot(false));
}

#[test]
fn fetchmail() {
    cycle::run(programs::fetchmail, &Ground::dovecot(true));
}

#[test]
fn imapclient() {
    cycle::run(programs::imapclient, &Ground::dovecot(false));
}

#[test]
fn aioimaplib() {
    cycle::run(programs::aioimaplib, &Ground::dovecot(true));
}

#[test]
fn imapflow() {
    cycle::run(programs::imapflow, &Ground::dovecot(true));
}

#[test]
fn pullimap_on_torpor_alone() {
    cycle::run(programs::pullimap, &Ground::own());
}

#[test]
fn fetchmail_on_torpor_alone() {
    cycle::run(programs::fetchmail, &Ground::own());
}

#[test]
fn imapclient_on_torpor_alone() {
    cycle::run(programs::imapclient, &Ground::own());
}

#[test]
fn aioimaplib_on_torpor_alone() {
    cycle::run(programs::aioimaplib, &Ground::own());
}

#[test]
fn imapflow_on_torpor_alone() {
    cycle::run(programs::imapflow, &Ground::own());
}
