//! Descriptors that go along when this process becomes another program, or starts one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Those that were packed. Each has the same number there as here.
#[derive(Debug, Default)]
pub struct Luggage<'a> {
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Luggage<'a> {
    /// Takes one along; returns its number.
    pub fn pack(&mut self, descriptor: &'a impl AsFd) -> RawFd {
        let descriptor = descriptor.as_fd();
        self.descriptors.push(descriptor);
        descriptor.as_raw_fd()
    }

    /// Lends all to the process that `command` will start.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn lend_to(&self, command: &mut Command) -> io::Result<()> {
        let lend = |descriptor: &BorrowedFd<'_>| {
            let (parent_fd, child_fd) = (descriptor.try_clone_to_owned()?, descriptor.as_raw_fd());
            Ok(FdMapping { parent_fd, child_fd })
        };
        let mappings = self.descriptors.iter().map(lend).collect::<io::Result<_>>()?;
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok(())
    }

    /// Runs `execute`, which returns only if it fails, with all of them open beyond it.
    pub fn carry(&self, execute: impl FnOnce() -> io::Error) -> io::Error {
        let set = |flags| {
            let each = |fd| fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop);
            self.descriptors.iter().try_for_each(each)
        };
        let error = match set(FdFlag::empty()) {
            Ok(()) => execute(),
            Err(errno) => errno.into(),
        };
        // Every other program that this one starts is to have none of them.
        set(FdFlag::FD_CLOEXEC).expect("they are open");
        error
    }
}
