//! The crate's examples as programs for its tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, built if this run of cargo has not; cargo puts it beside the test.
pub fn built(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "-q", "-p", env!("CARGO_PKG_NAME"), "--example", name]);
    cargo.args((!cfg!(debug_assertions)).then_some("--release"));
    assert!(cargo.status().expect("cargo runs").success());
    let test = env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    profile.join("examples").join(name)
}
