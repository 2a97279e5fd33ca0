//! torpor beside real Dovecots. The group names of `tests/run` select by the version in a test's
//! name: `dovecot23` or `dovecot24`.

mod admin;
mod clock;
mod compress;
mod corpus;
mod fake;
mod fleet;
mod ground;
mod mask;
mod mass;
mod outage;
mod play;
mod room;
mod script;
mod vanish;
