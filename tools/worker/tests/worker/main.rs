//! The worker as a client and an engine see it: sessions over socket pairs, real mailboxes in
//! temporary folders, the test in the place of everybody else.

mod commands;
mod fetch;
mod hostile;
mod lab;
mod memory;
mod model;
mod random;
mod resync;
mod search;
mod sleep;
mod told;
