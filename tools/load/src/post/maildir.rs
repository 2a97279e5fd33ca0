//! Delivery into a Maildir.

use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A message in `tmp`. One rename makes it visible.
pub struct Staged {
    from: PathBuf,
    to: PathBuf,
}

impl Staged {
    /// Writes the message with the owner that `new` has.
    ///
    /// # Errors
    /// There is no Maildir, or it cannot be written.
    pub fn new(maildir: &Path, message: &str) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let new = maildir.join("new");
        let owner = std::fs::metadata(&new)
            .map_err(|error| io::Error::new(error.kind(), format!("no Maildir: {error}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.P{}Q{count}.load", now.as_micros(), std::process::id());
        let staged = Self { from: maildir.join("tmp").join(&name), to: new.join(&name) };
        std::fs::write(&staged.from, message)?;
        if owner.uid() != nix::unistd::geteuid().as_raw() {
            chown(&staged.from, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(staged)
    }

    /// Delivers it; `visible` is called when it is about to be seen.
    ///
    /// # Errors
    /// The Maildir has gone.
    pub fn release(self, visible: impl FnOnce()) -> io::Result<()> {
        visible();
        std::fs::rename(self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_in_new_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let count = |name| std::fs::read_dir(dir.path().join(name)).expect("it is there").count();
        assert!(Staged::new(dir.path(), "text").is_err(), "not a Maildir");
        for name in ["tmp", "new"] {
            std::fs::create_dir(dir.path().join(name)).expect("a folder");
        }
        let staged = Staged::new(dir.path(), "text").expect("staged");
        assert_eq!((count("tmp"), count("new")), (1, 0));
        let mut seen = None;
        staged.release(|| seen = Some((count("tmp"), count("new")))).expect("delivered");
        assert_eq!(seen, Some((1, 0)), "its moment is before the rename");
        assert_eq!((count("tmp"), count("new")), (0, 1));
    }
}
