//! Each operation against the kernel that the tests run on.

mod clients;
mod conns;
mod farewells;
mod items;
mod rig;
mod watches;
