//! The book: the users file as it is now, read again whenever it has changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::users::{Stamp, Users, UsersError};

/// The users file of a running front.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    page: Mutex<Page>,
}

#[derive(Debug)]
struct Page {
    users: Arc<Users>,
    /// Of the file that was looked at last, whether it could be used or not.
    stamp: Option<Stamp>,
}

impl Book {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Users::load`].
    pub fn open(path: PathBuf) -> Result<Self, UsersError> {
        // The stamp first: a file that changes between the two is read twice, not missed.
        let stamp = Stamp::of(&path);
        let users = Arc::new(Users::load(&path)?);
        Ok(Self { path, page: Mutex::new(Page { users, stamp }) })
    }

    /// Who may log in at the moment.
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.lock().users)
    }

    /// Reads the file again if it has changed, or in any case if `told` to. One that cannot be
    /// used is complained about once and changes nothing.
    pub fn look(&self, told: bool) {
        let stamp = Stamp::of(&self.path);
        let changed = std::mem::replace(&mut self.lock().stamp, stamp) != stamp;
        if !changed && !told {
            return;
        }
        match Users::load(&self.path) {
            Ok(users) => {
                let count = users.count();
                self.lock().users = Arc::new(users);
                tracing::info!(
                    event = "users_read",
                    count,
                    "{}: {count} users",
                    self.path.display()
                );
            }
            Err(error) => tracing::error!("{error}; the users that were read before stay"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Page> {
        self.page.lock().expect("nothing panics while it holds the page")
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::{Cost, Hash};
    use super::*;

    #[test]
    fn a_changed_file_is_taken_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        let line = |name: &str| format!("{name}:{}\n", Hash::make(b"pw", Cost::Low).as_str());
        std::fs::write(&path, line("ann")).expect("written");
        let book = Book::open(path.clone()).expect("fine");
        let knows = |name: &str| book.users().check(name.as_bytes(), b"pw").is_some();
        assert!(knows("ann") && !knows("bob"));
        std::fs::write(&path, line("ann") + &line("bob")).expect("written");
        book.look(false);
        assert!(knows("ann") && knows("bob"));
        std::fs::write(&path, "ann\n").expect("written");
        book.look(false);
        book.look(true);
        assert!(knows("ann") && knows("bob"), "the slip of an editor locks nobody out");
        std::fs::remove_file(&path).expect("it was there");
        book.look(false);
        assert!(knows("ann"));
    }
}
