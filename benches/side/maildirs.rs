//! Mailboxes that sleepers watch, and the watches that an imap worker has on them.

use std::io;
use std::path::PathBuf;
use std::thread;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::time::TimeVal;

/// New Maildirs in one folder.
pub struct Maildirs {
    folder: PathBuf,
    made: u32,
}

impl Maildirs {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, made: 0 }
    }

    /// Watches on the next mailbox.
    ///
    /// # Errors
    /// It cannot be made, or the limit of inotify instances is reached.
    pub fn watch(&mut self) -> io::Result<Inotify> {
        self.made += 1;
        let notify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mask = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        for name in ["new", "cur"] {
            let path = self.folder.join(self.made.to_string()).join(name);
            std::fs::create_dir_all(&path)?;
            // One that has just changed would wake its sleeper.
            let old = TimeVal::new(1_700_000_000, 0);
            nix::sys::stat::utimes(&path, &old, &old)?;
            notify.add_watch(&path, mask)?;
        }
        Ok(notify)
    }
}

/// The worker's copies, which it closes once its client is asleep. Closing an inotify instance
/// waits for a grace period of the kernel, which threads share.
#[derive(Default)]
pub struct Copies(Vec<Inotify>);

impl Copies {
    /// Keeps one for a while.
    pub fn keep(&mut self, copy: Inotify) {
        self.0.push(copy);
        if self.0.len() >= COPIES_MAX {
            self.close();
        }
    }

    /// Closes all.
    pub fn close(&mut self) {
        thread::scope(|scope| {
            for copy in self.0.drain(..) {
                scope.spawn(move || drop(copy));
            }
        });
    }
}

/// inotify instances that the bench has at once.
const COPIES_MAX: usize = 64;
