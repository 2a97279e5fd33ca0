//! Mailboxes that sleepers watch, and the watches that an imap worker has on them.

use std::io;
use std::path::PathBuf;
use std::thread;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Maildirs in one folder.
pub struct Maildirs {
    folder: PathBuf,
    made: u32,
    watched: u32,
}

impl Maildirs {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, made: 0, watched: 0 }
    }

    /// Makes as many, some time before they are watched: one that has just changed would wake its
    /// sleeper.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn make(&mut self, count: u32) -> io::Result<()> {
        for number in self.made + 1..=self.made + count {
            for name in FOLDERS {
                std::fs::create_dir_all(self.mailbox(number).join(name))?;
            }
        }
        self.made += count;
        // An inode that is still to be written is held by that.
        nix::unistd::sync();
        Ok(())
    }

    /// Has the kernel know the mailboxes that are not watched yet, but not what is in them. The
    /// inodes that watches pin then lie side by side, and not in slabs that are left one third
    /// empty once these are given back, which on a server others fill.
    ///
    /// # Errors
    /// They are gone.
    pub fn look(&self) -> io::Result<()> {
        let mut unwatched = self.watched + 1..=self.made;
        unwatched.try_for_each(|number| std::fs::metadata(self.mailbox(number)).map(drop))
    }

    /// Watches on the next mailbox.
    ///
    /// # Errors
    /// The limit of inotify instances is reached.
    pub fn watch(&mut self) -> io::Result<Inotify> {
        self.watched += 1;
        assert!(self.watched <= self.made, "there is no mailbox {}", self.watched);
        let notify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mask = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        for name in FOLDERS {
            notify.add_watch(&self.mailbox(self.watched).join(name), mask)?;
        }
        Ok(notify)
    }

    fn mailbox(&self, number: u32) -> PathBuf {
        self.folder.join(number.to_string())
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

const FOLDERS: [&str; 2] = ["new", "cur"];
/// inotify instances that we have at once.
const COPIES_MAX: usize = 64;
