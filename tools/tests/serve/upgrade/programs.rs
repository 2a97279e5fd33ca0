//! Programs to upgrade to, and what `torpor upgrade` says of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::parts::Torpor;

/// Programs to upgrade to.
pub struct Programs(tempfile::TempDir);

impl Programs {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// The same program as another file. (By `cp`: a file that this process writes is busy for as
    /// long as a child of another thread has inherited it.)
    pub fn copy(&self, name: &str) -> PathBuf {
        let path = self.dir().join(name);
        let copied = Command::new("cp").arg(TORPOR).arg(&path).status().expect("cp");
        assert!(copied.success());
        path
    }

    /// torpor as it is but for what `cases` of its arguments do.
    pub fn script(&self, name: &str, cases: &str) -> PathBuf {
        let path = self.dir().join(name);
        let text = format!("#!/bin/sh\ncase \"$*\" in\n{cases}\nesac\nexec {TORPOR} \"$@\"\n");
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text]);
        assert!(shell.arg(&path).status().expect("sh").success());
        path
    }
}

pub fn upgrade(binary: &Path, place: [&Path; 2]) -> Output {
    let mut command = Command::new(TORPOR);
    command.args(["upgrade".as_ref(), "--binary".as_ref(), binary]).args(place);
    command.output().expect("torpor starts")
}

/// It is done, and says so.
pub fn upgrades(torpor: &Torpor, binary: &Path) -> String {
    let output = upgrade(binary, ["--base-dir".as_ref(), &torpor.dir()]);
    let text = String::from_utf8(output.stdout).expect("text");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{error}{}", torpor.log());
    text
}

/// It is refused; says why.
pub fn refuses(torpor: &Torpor, binary: &Path) -> String {
    let output = upgrade(binary, ["--base-dir".as_ref(), &torpor.dir()]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", torpor.log());
    String::from_utf8(output.stderr).expect("text")
}

pub const TORPOR: &str = env!("CARGO_BIN_EXE_torpor");
