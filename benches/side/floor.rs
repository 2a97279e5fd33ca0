//! What a bench that loads whole servers stands on.

use std::error::Error;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use torpor::dovecot::raise_open_files;

use super::binary;
use super::limits::Limits;

/// The binary to load, raised limits, and a folder for results. Dropping it puts the limits back.
pub struct Floor {
    pub binary: PathBuf,
    pub folder: PathBuf,
    _limits: Limits,
    _scratch: TempDir,
}

impl Floor {
    /// Results go to `out`, which is made, or to nowhere that lasts.
    ///
    /// # Errors
    /// Nothing can be built, limits may not be raised, or the folder cannot be made.
    pub fn lay(out: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let binary = binary::release()?;
        raise_open_files();
        let (limits, scratch) = (Limits::raise()?, tempfile::tempdir()?);
        let folder = out.unwrap_or(scratch.path()).to_owned();
        std::fs::create_dir_all(&folder)?;
        Ok(Self { binary, folder, _limits: limits, _scratch: scratch })
    }
}
