//! The parts of the torpor tools that the demo, the tests and the benches share.

pub mod dovecot;
