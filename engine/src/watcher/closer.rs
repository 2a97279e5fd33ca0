//! The closing thread: closing an inotify instance may wait for the kernel for 8 to 16 ms.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;

/// Closes what it is given, some time later and in batches: by then the kernel has disposed of
/// the removed watches in one go, and adoptions never wait for it.
pub fn run(condemned: &Receiver<OwnedFd>) {
    while let Ok(first) = condemned.recv() {
        let batch: Vec<OwnedFd> = std::iter::once(first).chain(condemned.try_iter()).collect();
        thread::sleep(SETTLE);
        drop(batch);
    }
}

const SETTLE: Duration = Duration::from_millis(50);
