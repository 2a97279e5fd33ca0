//! The users file: who may log in, a line `user:hash` each.
//!
//! Further fields, as passwd(5) and Dovecot's passwd-file have them, are not looked at. A file with
//! one bad line is refused whole, so that a slip of an editor locks nobody out: the file that was
//! read before stays in force.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::hash::{Cost, Hash, HashError};

/// Everybody who may log in.
#[derive(Debug)]
pub struct Users {
    hashes: HashMap<UserName, Hash>,
    /// What the password of somebody unknown is compared with: it costs as much as a user's.
    nobody: Hash,
}

/// A name that is safe as the name of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(Box<str>);

/// A users file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file's owner wrote something that is no user.
    #[error("{}:{line}: {why}", path.display())]
    Line { path: PathBuf, line: usize, why: LineError },
}

/// What is wrong with one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("a user's line is user:hash")]
    NoHash,
    #[error(
        "a user's name has 1 to {NAME_BYTES_MAX} bytes, no '/', no control character and no dot \
         at its beginning"
    )]
    BadName,
    #[error("{0} has a line already")]
    Twice(String),
    #[error("{0}")]
    Hash(#[from] HashError),
}

/// Tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// Names the file and the first line that is no user.
    pub fn load(path: &Path) -> Result<Self, UsersError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|(line, why)| UsersError::Line {
            path: path.to_owned(),
            line,
            why,
        })
    }

    /// Reads a file's text; an error comes with the number of its line, from 1.
    ///
    /// # Errors
    /// A line is no user.
    pub fn parse(text: &str) -> Result<Self, (usize, LineError)> {
        let (mut hashes, mut first) = (HashMap::new(), None);
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let named = |why| (at + 1, why);
            let (name, hash) = parse_line(line).map_err(named)?;
            first.get_or_insert_with(|| hash.clone());
            if let Some(_twice) = hashes.insert(name.clone(), hash) {
                return Err(named(LineError::Twice(name.as_str().to_owned())));
            }
        }
        let nobody = first.unwrap_or_else(|| Hash::make(b"", Cost::Default));
        Ok(Self { hashes, nobody })
    }

    /// The user's name if the password is theirs. One hash is computed in every case, so that the
    /// time tells nobody which names there are.
    pub fn check(&self, name: &[u8], password: &[u8]) -> Option<UserName> {
        let name = str::from_utf8(name).ok().and_then(UserName::new);
        let known = name.and_then(|name| Some((self.hashes.get(&name)?, name)));
        match known {
            Some((hash, name)) => hash.fits(password).then_some(name),
            None => {
                self.nobody.fits(password);
                None
            }
        }
    }

    pub fn count(&self) -> usize {
        self.hashes.len()
    }
}

impl UserName {
    /// `None`: it must not become the name of a folder.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        let safe = !name.starts_with('.')
            && !name.contains(|char: char| char == '/' || char == ':' || char.is_control());
        (fits && safe).then(|| Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Stamp {
    /// Of the file as it is now; `None` when it cannot be seen.
    pub fn of(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        let changed = (data.ctime(), data.ctime_nsec());
        Some(Self { inode: data.ino(), bytes: data.len(), changed })
    }
}

fn parse_line(line: &str) -> Result<(UserName, Hash), LineError> {
    let mut fields = line.split(':');
    let name = fields.next().unwrap_or_default();
    let hash = fields.next().filter(|hash| !hash.is_empty()).ok_or(LineError::NoHash)?;
    let name = UserName::new(name).ok_or(LineError::BadName)?;
    Ok((name, Hash::parse(hash)?))
}

/// Longest name of a user. Linux takes 255 bytes for a folder's.
pub const NAME_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::super::hash::tests::CHECKS;
    use super::*;

    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}", Hash::make(password.as_bytes(), Cost::Low).as_str())
    }

    #[test]
    fn comments_blanks_and_further_fields_are_passed_over() {
        let text = format!(
            "# people\n\n{}:1000:1000::/home/ann::\n  {}  \n",
            line("ann", "a"),
            line("bob@example.org", "b:c")
        );
        let users = Users::parse(&text).expect("fine");
        assert_eq!(users.count(), 2);
        let named = |name: &str, password: &str| users.check(name.as_bytes(), password.as_bytes());
        assert_eq!(named("ann", "a"), UserName::new("ann"));
        assert_eq!(named("bob@example.org", "b:c"), UserName::new("bob@example.org"));
        assert_eq!(named("ann", "b:c"), None);
        assert_eq!(named("Ann", "a"), None, "names are compared byte for byte");
        assert_eq!(users.check(b"\xff", b"a"), None);
    }

    #[test]
    fn a_bad_line_is_named_and_the_file_refused() {
        let good = line("ann", "a");
        let cases = [
            (format!("{good}\nbob\n"), 2, LineError::NoHash),
            (format!("#\n{good}\n\nbob:\n"), 4, LineError::NoHash),
            (format!("../{good}"), 1, LineError::BadName),
            (format!(".{good}"), 1, LineError::BadName),
            (format!("a/{good}"), 1, LineError::BadName),
            (format!("a\u{1}{good}"), 1, LineError::BadName),
            (format!("{}{good}", "x".repeat(NAME_BYTES_MAX)), 1, LineError::BadName),
            (format!("{good}\n{good}"), 2, LineError::Twice("ann".to_owned())),
            ("ann:secret".to_owned(), 1, LineError::Hash(HashError::NotArgon2)),
        ];
        for (text, number, why) in cases {
            assert_eq!(Users::parse(&text).expect_err(&text), (number, why));
        }
    }

    #[test]
    fn an_error_names_file_and_line_and_no_password() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        assert!(Users::load(&path).expect_err("not there").to_string().contains("users: "));
        std::fs::write(&path, "# x\nann:{PLAIN}sesame\n").expect("written");
        let text = Users::load(&path).expect_err("no hash").to_string();
        assert!(text.contains("users:2: not an argon2 hash"), "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }

    #[test]
    fn a_name_that_nobody_has_costs_one_hash_like_a_wrong_password() {
        let users = Users::parse(&line("ann", "a")).expect("fine");
        let empty = Users::parse("").expect("fine");
        let cost = |users: &Users, name: &[u8], password: &[u8]| {
            let before = CHECKS.get();
            users.check(name, password);
            CHECKS.get() - before
        };
        assert_eq!(cost(&users, b"ann", b"a"), 1);
        assert_eq!(cost(&users, b"ann", b"wrong"), 1);
        for name in [&b"bob"[..], b"../ann", b"\xff", b""] {
            assert_eq!(cost(&users, name, b"wrong"), 1, "{name:?}");
        }
        assert_eq!(cost(&empty, b"ann", b"a"), 1);
        assert_eq!(users.nobody.as_str().split('$').nth(3), Some("m=8,t=1,p=1"), "as ann's");
    }

    #[test]
    fn a_changed_file_has_another_stamp() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        assert_eq!(Stamp::of(&path), None);
        std::fs::write(&path, "a").expect("written");
        let first = Stamp::of(&path);
        assert_eq!(Stamp::of(&path), first);
        std::fs::write(&path, "ab").expect("written");
        assert_ne!(Stamp::of(&path), first);
    }
}
