//! torpor beside real Dovecots. The group names of `tests/run` select by the version in a test's
//! name: `dovecot23` or `dovecot24`.

mod corpus;
mod ground;
mod mask;
mod play;
mod script;
