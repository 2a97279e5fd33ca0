//! Everything that needs `unsafe`: descriptors that travel, and the numbers nix does not know.

pub mod fd;
