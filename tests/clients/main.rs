//! Five mail clients that nobody here wrote, each through cycles of idling, sleeping, waking and
//! fetching. That a cycle really went through torpor is read from its statistics.
//!
//! `TORPOR_CYCLES` sets their number (5; 20 with `tests/run --nightly`).

mod cycle;
mod programs;
mod sink;
#[path = "../../benches/side/torpor.rs"]
mod torpor_process;

#[test]
fn pullimap() {
    cycle::run(programs::pullimap, false);
}

#[test]
fn fetchmail() {
    cycle::run(programs::fetchmail, true);
}

#[test]
fn imapclient() {
    cycle::run(programs::imapclient, false);
}

#[test]
fn aioimaplib() {
    cycle::run(programs::aioimaplib, true);
}

#[test]
fn imapflow() {
    cycle::run(programs::imapflow, true);
}
