//! What a watcher says, from any of its threads.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use super::wire::Said;

/// The way up to the engine.
#[derive(Clone)]
pub struct Voice(Arc<OwnedFd>);

impl Voice {
    pub fn new(socket: Arc<OwnedFd>) -> Self {
        Self(socket)
    }

    /// Waits for as long as the engine does not listen. One that is gone needs no news, and whoever
    /// hears orders learns of its end.
    pub fn say(&self, said: Said) {
        let bytes = said.to_bytes();
        let passes = |errno| matches!(errno, Errno::EINTR | Errno::ENOBUFS | Errno::ENOMEM);
        while send(self.0.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).is_err_and(passes) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
