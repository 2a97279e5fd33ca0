//! The program that engines run, by a descriptor: it stays what it is, whatever comes to lie at
//! its path.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::fexecve;
use serde::{Deserialize, Serialize};
use torpor_engine::sys::inherited;

use crate::luggage::Luggage;

/// A program file, held open.
pub struct Binary {
    file: File,
    serial: u32,
    /// True exactly when this very process runs it.
    is_own: bool,
}

/// The same as the next image of its keeper reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    file: RawFd,
    serial: u32,
}

impl Binary {
    /// What this process runs.
    ///
    /// # Errors
    /// procfs is not there.
    pub fn own() -> io::Result<Self> {
        Ok(Self { file: held(OWN)?, serial: 0, is_own: true })
    }

    /// What lies at a path now, to run after this one.
    ///
    /// # Errors
    /// Names the path.
    pub fn next(&self, path: &Path) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = held(path).map_err(named)?;
        Ok(Self { serial: self.serial + 1, ..Self::over(file)? })
    }

    /// What the next image of this process finds, and takes along.
    pub fn note<'a>(&'a self, luggage: &mut Luggage<'a>) -> Note {
        Note { file: luggage.pack(self), serial: self.serial }
    }

    /// What the image before this one has noted.
    ///
    /// # Errors
    /// It is not open, or procfs is not there.
    pub fn unpack(note: Note) -> io::Result<Self> {
        Ok(Self { serial: note.serial, ..Self::over(inherited(note.file)?)? })
    }

    /// One without a number.
    ///
    /// # Errors
    /// procfs is not there.
    pub fn over(file: impl Into<File>) -> io::Result<Self> {
        let file = file.into();
        let is_own = same(&file, &held(OWN)?)?;
        Ok(Self { file, serial: 0, is_own })
    }

    /// How many programs ran before it, in this process. What an upgrade has gone back to has its
    /// number again.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// True for the very same file.
    ///
    /// # Errors
    /// The filesystem does not say.
    pub fn is(&self, other: &Self) -> io::Result<bool> {
        same(&self.file, &other.file)
    }

    /// Starts it as a child.
    pub fn command(&self) -> Command {
        let mut command = match self.is_own {
            true => Command::new(OWN),
            // It may be a script around the program, as some systems have them. Its interpreter
            // opens it by this name, when the child's descriptors are closed.
            false => {
                let (pid, number) = (std::process::id(), self.file.as_raw_fd());
                Command::new(format!("/proc/{pid}/fd/{number}"))
            }
        };
        command.arg0(NAME);
        // glibc: no heap of its own for each thread, and large pieces go back to the kernel when
        // they are freed. So what a storm has needed is not kept.
        command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_MMAP_THRESHOLD_", "131072");
        command
    }

    /// True for what [`Binary::command`] calls a program that may be a script.
    pub fn is_name(word: &[u8]) -> bool {
        let parts: Vec<&[u8]> = word.split(|byte| *byte == b'/').collect();
        matches!(parts[..], [b"", b"proc", _, b"fd", _])
    }

    /// Becomes it, with `luggage`. Blocked signals stay so. Returns only if that fails.
    pub fn execute<'a>(&'a self, arguments: Vec<OsString>, mut luggage: Luggage<'a>) -> io::Error {
        let text = |text: OsString| CString::new(text.into_vec());
        let arguments = [OsString::from(NAME)].into_iter().chain(arguments).map(text);
        let variable = |(mut name, value): (OsString, OsString)| {
            name.push(OsStr::new("="));
            name.push(value);
            text(name)
        };
        let variables = std::env::vars_os().map(variable).collect::<Result<Vec<_>, _>>();
        match (arguments.collect::<Result<Vec<_>, _>>(), variables) {
            (Ok(arguments), Ok(variables)) => {
                // A script's interpreter opens it by this number.
                luggage.pack(&self.file);
                luggage.carry(|| match fexecve(&self.file, &arguments, &variables) {
                    Ok(never) => match never {},
                    Err(errno) => errno.into(),
                })
            }
            (Err(error), _) | (_, Err(error)) => error.into(),
        }
    }
}

impl AsFd for Binary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A name of the file, not open to read: a program may be for execution alone.
fn held(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
}

fn same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

const OWN: &str = "/proc/self/exe";
/// What processes are called.
const NAME: &str = "torpor";
