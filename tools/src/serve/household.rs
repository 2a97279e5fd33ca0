//! All that a keeper holds, written down for the next image of its process.
//!
//! It lies in a memfd as TOML. Descriptors keep their numbers over exec, children stay children,
//! so numbers and pids are enough.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::binary::{self, Binary};
use super::{engine, front, sockets, upgrade};
use crate::config::Config;
use crate::luggage::Luggage;

/// What the next image finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Household {
    /// [`LAYOUT`] of whoever has written it.
    layout: u32,
    /// His version.
    pub version: String,
    /// The configuration in force, as TOML.
    config: String,
    /// The program that is to run.
    pub binary: binary::Note,
    pub sockets: sockets::Note,
    pub engines: Vec<engine::Note>,
    pub front: Option<front::Note>,
    pub upgrade: upgrade::Note,
}

/// What tells of the layout, whatever else there is.
#[derive(Deserialize)]
struct Layout {
    layout: u32,
    version: String,
}

impl Household {
    /// With what whoever writes it says of itself.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn new(
        config: &Config,
        binary: binary::Note,
        sockets: sockets::Note,
        engines: Vec<engine::Note>,
        front: Option<front::Note>,
        upgrade: upgrade::Note,
    ) -> io::Result<Self> {
        let config = toml::to_string(config).map_err(io::Error::other)?;
        let (layout, version) = (LAYOUT, env!("CARGO_PKG_VERSION").to_owned());
        Ok(Self { layout, version, config, binary, sockets, engines, front, upgrade })
    }

    /// What the image before this one has written.
    ///
    /// # Errors
    /// It has another layout than this program reads: names both versions.
    pub fn read(number: RawFd) -> io::Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/self/fd/{number}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> io::Result<Self> {
        let Layout { layout, version } = toml::from_str(text).map_err(io::Error::other)?;
        if !LAYOUTS_READ.contains(&layout) {
            return Err(io::Error::other(format!(
                "what torpor {version} holds has layout {layout}, and torpor {} reads {} to {}",
                env!("CARGO_PKG_VERSION"),
                LAYOUTS_READ.start(),
                LAYOUTS_READ.end()
            )));
        }
        toml::from_str(text).map_err(io::Error::other)
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// This program cannot use it.
    pub fn config(&self) -> io::Result<Config> {
        Config::parse(Path::new("household"), &self.config).map_err(io::Error::other)
    }

    /// Lends it, with `luggage`, to a child, and says by which number that knows it.
    ///
    /// # Errors
    /// The host has no memory or no descriptors.
    pub fn lend_to(&self, command: &mut Command, luggage: Luggage<'_>) -> io::Result<RawFd> {
        let (file, mut luggage) = (self.write()?, luggage);
        let number = luggage.pack(&file);
        luggage.lend_to(command)?;
        Ok(number)
    }

    /// Lets this process become `binary`, which finds it by the number behind `--resume`. Returns
    /// only if that fails.
    pub fn pass_to(
        &self,
        binary: &Binary,
        mut arguments: Vec<OsString>,
        luggage: Luggage<'_>,
    ) -> io::Error {
        let (file, mut luggage) = match self.write() {
            Ok(file) => (file, luggage),
            Err(error) => return error,
        };
        luggage.pack(&file);
        arguments.extend(["--resume".into(), file.as_raw_fd().to_string().into()]);
        binary.execute(arguments, luggage)
    }

    fn write(&self) -> io::Result<File> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut file = File::from(memfd_create("torpor-household", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        Ok(file)
    }
}

/// Goes up when a reader of this one could misread the next one.
const LAYOUT: u32 = 1;
/// What is read: this layout and the one before it. No older one was ever written.
const LAYOUTS_READ: std::ops::RangeInclusive<u32> = 1..=LAYOUT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_that_is_not_known_is_refused_by_both_versions() {
        let text = "layout = 2\nversion = \"9.8.7\"\nsomething = \"else\"\n";
        let error = Household::parse(text).expect_err("too new").to_string();
        let ours = env!("CARGO_PKG_VERSION");
        let expected =
            format!("what torpor 9.8.7 holds has layout 2, and torpor {ours} reads 1 to 1");
        assert_eq!(error, expected);
    }
}
