//! The torpor that is measured.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release binary: `TORPOR_BIN`, else one built now.
///
/// # Errors
/// It does not build.
pub fn release() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("TORPOR_BIN") {
        return Ok(path.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-q", "--release", "-p", "torpor"]).current_dir(root);
    if !command.status()?.success() {
        return Err(io::Error::other("cargo build --release -p torpor failed"));
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/torpor"))
}
