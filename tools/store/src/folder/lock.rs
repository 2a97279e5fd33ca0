//! The lock of a mailbox: who may change it, and who may read its index meanwhile.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Folder;
use crate::StoreError;

impl Folder {
    /// The right to change the mailbox, alone, until the guard is dropped.
    pub fn lock(&self) -> Result<Locked, StoreError> {
        self.lock_by(File::lock)
    }

    /// The right to read the index while nobody changes it.
    pub fn lock_shared(&self) -> Result<Locked, StoreError> {
        self.lock_by(File::lock_shared)
    }

    fn lock_by(&self, how: fn(&File) -> io::Result<()>) -> Result<Locked, StoreError> {
        uninterrupted(|| how(&self.lock)).map_err(StoreError::io("locking a mailbox"))?;
        Ok(Locked(self.lock.clone()))
    }
}

/// Holds a mailbox's lock. Two handles in one process lock each other out as two processes do.
#[derive(Debug)]
pub struct Locked(Arc<File>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.unlock().expect("a lock that is held can be given back");
    }
}

/// Waits for a lock through every signal.
pub fn uninterrupted(mut wait: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
