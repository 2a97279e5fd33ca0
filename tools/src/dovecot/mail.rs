//! Deliveries into a Maildir, as a mail transfer agent does them.

use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The INBOX of one user.
#[derive(Clone, Debug)]
pub struct Mailbox {
    maildir: PathBuf,
    uid: u32,
    gid: u32,
}

impl Mailbox {
    /// The Maildir at this path, whose mail has this owner.
    pub fn new(maildir: PathBuf, uid: u32, gid: u32) -> Mailbox {
        Mailbox { maildir, uid, gid }
    }

    /// The Maildir.
    pub fn path(&self) -> &Path {
        &self.maildir
    }

    /// Delivers one message; the moment of its rename is the moment it is there.
    ///
    /// # Errors
    /// The Maildir cannot be written.
    pub fn deliver(&self, text: &str) -> io::Result<()> {
        self.stage(text)?.release()
    }

    /// Writes one message into `tmp`, where nobody sees it yet.
    ///
    /// # Errors
    /// The Maildir cannot be written.
    pub fn stage(&self, text: &str) -> io::Result<Staged> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let maildir = &self.maildir;
        if !maildir.join("new").exists() {
            self.make()?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.P{}Q{count}.torpor", now.as_secs(), std::process::id());
        let staged =
            Staged { from: maildir.join("tmp").join(&name), to: maildir.join("new").join(&name) };
        std::fs::write(&staged.from, text)?;
        chown(&staged.from, Some(self.uid), Some(self.gid))?;
        Ok(staged)
    }

    /// A short message with the given subject.
    pub fn message(subject: &str) -> String {
        format!(
            "From: sender@example.org\r\nTo: reader@example.org\r\nSubject: {subject}\r\n\
             Date: Mon, 02 Jan 2023 03:04:05 +0000\r\nMessage-ID: <{subject}@example.org>\r\n\r\n\
             Good morning.\r\n"
        )
    }

    fn make(&self) -> io::Result<()> {
        for name in ["", "tmp", "new", "cur"] {
            std::fs::create_dir_all(self.maildir.join(name))?;
            chown(self.maildir.join(name), Some(self.uid), Some(self.gid))?;
        }
        // The home is the mail user's as well.
        self.maildir.parent().map_or(Ok(()), |home| chown(home, Some(self.uid), Some(self.gid)))
    }
}

/// A message that one rename delivers, so that many arrive at once.
#[derive(Debug)]
#[must_use = "a staged message is delivered by `release`"]
pub struct Staged {
    from: PathBuf,
    to: PathBuf,
}

impl Staged {
    /// Delivers it.
    ///
    /// # Errors
    /// The Maildir is gone.
    pub fn release(self) -> io::Result<()> {
        std::fs::rename(self.from, self.to)
    }
}
