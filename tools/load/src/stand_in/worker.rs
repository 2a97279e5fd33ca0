//! The worker's part of a hibernation.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use fastrand::Rng;
use nix::sys::stat::{fstat, minor};
use torpor_handoff::line::HIBERNATE_VERSION;
use torpor_handoff::sys::fd::send_with_fd;

use super::letter::{Facts, line};

/// A worker that hands over client after client, each by a line like no other.
pub struct Worker {
    socket: PathBuf,
    random: Rng,
    keepalive_secs: u32,
}

impl Worker {
    /// For this imap-hibernate socket; its clients want a keepalive that often, 0 for never.
    pub fn new(socket: PathBuf, keepalive_secs: u32) -> Self {
        Self { socket, random: Rng::with_seed(1), keepalive_secs }
    }

    /// Hands a client over, with the watches on its mailbox if it has any.
    ///
    /// # Errors
    /// It was refused.
    pub fn hibernate(
        &mut self,
        client: BorrowedFd<'_>,
        notify: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let stat = fstat(client)?;
        let facts = Facts {
            inode: stat.st_ino,
            minor: minor(stat.st_dev),
            keepalive_secs: self.keepalive_secs,
            notify: notify.is_some(),
        };
        let line = line(&mut self.random, facts);
        let (first, rest) = line.as_bytes().split_at(1);
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(HIBERNATE_VERSION)?;
        let mut greeting = vec![0; HIBERNATE_VERSION.len()];
        stream.read_exact(&mut greeting)?;
        send_with_fd(stream.as_fd(), first, client)?;
        stream.write_all(rest)?;
        plus(&mut stream)?;
        if let Some(notify) = notify {
            send_with_fd(stream.as_fd(), b"\n", notify)?;
            plus(&mut stream)?;
        }
        Ok(())
    }
}

fn plus(stream: &mut UnixStream) -> io::Result<()> {
    let mut buffer = [0; 512];
    let count = stream.read(&mut buffer)?;
    match buffer[..count].first() {
        Some(b'+') => Ok(()),
        _ => Err(io::Error::other(format!("answered {}", buffer[..count].escape_ascii()))),
    }
}
