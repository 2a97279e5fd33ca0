//! Descriptors that a process is about to be started with, each under a new number.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};

/// Copies, each with the number that it will have.
pub struct Outfit {
    mappings: Vec<FdMapping>,
    next: RawFd,
}

impl Outfit {
    /// None yet; their numbers will follow this one.
    pub fn behind(number: RawFd) -> Self {
        assert!(number > 2, "standard streams have numbers of their own");
        Self { mappings: Vec::new(), next: number + 1 }
    }

    /// Adds one; says under which number the process will find it.
    ///
    /// # Errors
    /// No descriptor is left here.
    pub fn put(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<RawFd> {
        let child_fd = self.next;
        self.next += 1;
        self.mappings.push(FdMapping { parent_fd: descriptor.try_clone_to_owned()?, child_fd });
        Ok(child_fd)
    }

    /// Gives all to the process that `command` will start.
    ///
    /// # Errors
    /// The command has some already.
    pub fn pass_to(self, command: &mut Command) -> io::Result<()> {
        command.fd_mappings(self.mappings).map(drop).map_err(io::Error::other)
    }
}
