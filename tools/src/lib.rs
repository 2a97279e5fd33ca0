//! The `torpor` program, and what it shares with the tests and benches.
//!
//! Reading order: `cli` (what can be typed), `config`, `serve` (the keeper, which starts all other
//! processes), `kit` (what an engine is started with) and `outfit` (the descriptors of it), `link`
//! (what it is told later), `estate` (what the keeper holds for it), `luggage` (what goes along
//! when the keeper becomes another program), `engine` (one engine process), `watcher` (what it
//! leaves to another), `desk` (what surrounds the engine thread), `front` (logins and workers of
//! our own), `log`, `anvil`, `control`, `metrics`, `doctor`, `demo`, `load`.

pub mod anvil;
pub mod card;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod desk;
pub mod doctor;
pub mod dovecot;
pub mod engine;
pub mod estate;
pub mod front;
pub mod kit;
pub mod link;
pub mod load;
pub mod log;
pub mod luggage;
pub mod metrics;
pub mod outfit;
pub mod own;
pub mod serve;
pub mod socket;
pub mod station;
pub mod watcher;
pub mod worker;
