//! torpor beside real Dovecots. The group names of `tests/run` select by the version in a test's
//! name: `dovecot23` or `dovecot24`.

mod clock;
mod corpus;
mod fleet;
mod ground;
mod mask;
mod mass;
mod play;
mod script;
