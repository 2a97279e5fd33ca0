//! `torpor load` against servers that misbehave in known ways, so that its accounts can be
//! checked to the last client; then against a real Dovecot and torpor's own worker.

mod accounts;
mod real;
mod server;

#[path = "../../benches/side/binary.rs"]
mod binary;
#[path = "../../benches/side/builtin.rs"]
mod builtin;
#[path = "../../benches/side/kill.rs"]
mod kill;
#[path = "../../benches/side/scene.rs"]
mod scene;
#[path = "../../benches/side/torpor.rs"]
mod torpor;
