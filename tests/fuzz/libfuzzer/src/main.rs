//! libFuzzer around the targets: `TORPOR_FUZZ=NAME targets CORPUS [libFuzzer's options]`.
#![no_main]

#[path = "../../targets/mod.rs"]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("TORPOR_FUZZ").expect("TORPOR_FUZZ names a target");
        let found = TARGETS.into_iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("TORPOR_FUZZ={name} is no target"))
    });
    (chosen.run)(input);
});
