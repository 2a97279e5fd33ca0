//! Who logs in: users by a template and a number, or by a file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One user and how they get in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct User {
    pub name: String,
    pub password: String,
}

/// A sequence of users, known by their index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Users {
    /// `{n}` or `{n:05}` in the name and the password becomes `first + index`.
    Template { name: String, password: String, first: u32 },
    /// Exactly these.
    List(Vec<User>),
}

/// What is wrong with the users.
#[derive(Debug, Error)]
pub enum UsersError {
    #[error("{0}: no `{{n}}` in the template, so all users would be one")]
    NoNumber(String),
    #[error("{0}: the number in braces is written {{n}}, or {{n:05}} for five digits")]
    BadNumber(String),
    #[error("{file}:{line}: a line is USER:PASSWORD")]
    BadLine { file: String, line: usize },
    #[error("{0:?}: a user or password is of printable ASCII, and at most 200 bytes")]
    BadText(String),
    #[error("{file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
}

impl Users {
    /// Users by a template. A name without a number is fine only for a single user.
    ///
    /// # Errors
    /// The template has no number, or more in its braces than can be understood.
    pub fn template(
        name: &str,
        password: &str,
        first: u32,
        count: u32,
    ) -> Result<Self, UsersError> {
        let sample = filled(name, first).ok_or_else(|| UsersError::BadNumber(name.to_owned()))?;
        if sample == name && count > 1 {
            return Err(UsersError::NoNumber(name.to_owned()));
        }
        check(&sample)?;
        let password_of = filled(password, first);
        check(&password_of.ok_or_else(|| UsersError::BadNumber(password.to_owned()))?)?;
        Ok(Self::Template { name: name.to_owned(), password: password.to_owned(), first })
    }

    /// Users from a file of `USER:PASSWORD` lines; empty lines and those with a `#` in front
    /// say nothing.
    ///
    /// # Errors
    /// The file cannot be read, or the error names the line that is wrong.
    pub fn file(path: &Path) -> Result<Self, UsersError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| UsersError::Unreadable { file: file.clone(), source })?;
        let mut users = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || UsersError::BadLine { file: file.clone(), line: at + 1 };
            let (name, password) = line.split_once(':').ok_or_else(bad)?;
            check(name)?;
            check(password)?;
            users.push(User { name: name.to_owned(), password: password.to_owned() });
        }
        Ok(Self::List(users))
    }

    /// How many there are; `None` when a template goes on for ever.
    pub fn count(&self) -> Option<u32> {
        match self {
            Self::Template { .. } => None,
            Self::List(users) => Some(users.len() as u32),
        }
    }

    /// The user at `index`, which is below [`Users::count`].
    pub fn at(&self, index: u32) -> User {
        match self {
            Self::Template { name, password, first } => {
                let number = first + index;
                let fill = |text: &str| filled(text, number).expect("checked when it was made");
                User { name: fill(name), password: fill(password) }
            }
            Self::List(users) => users[index as usize].clone(),
        }
    }
}

/// `text` with its `{n}` or `{n:0W}` replaced; `None` when the braces hold anything else.
fn filled(text: &str, number: u32) -> Option<String> {
    let Some((before, rest)) = text.split_once('{') else { return Some(text.to_owned()) };
    let (inside, after) = rest.split_once('}')?;
    let width: usize = match inside.strip_prefix('n')? {
        "" => 0,
        width => width.strip_prefix(":0")?.parse().ok().filter(|width| *width <= WIDTH_MAX)?,
    };
    Some(format!("{before}{number:0width$}{after}"))
}

/// What fits into an IMAP quoted string (RFC 3501, section 9: QUOTED-CHAR).
fn check(text: &str) -> Result<(), UsersError> {
    let fits = !text.is_empty()
        && text.len() <= TEXT_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if fits { Ok(()) } else { Err(UsersError::BadText(text.to_owned())) }
}

/// Digits of a `u32`.
const WIDTH_MAX: usize = 10;
const TEXT_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_counts_from_its_first() {
        let users = Users::template("u{n:05}@x.org", "pw{n}", 7, 10).expect("it is fine");
        let user = users.at(2);
        assert_eq!((user.name.as_str(), user.password.as_str()), ("u00009@x.org", "pw9"));
        assert_eq!(users.count(), None);
    }

    #[test]
    fn templates_that_mean_nothing_are_refused() {
        for bad in ["u", "u{m}", "u{n", "u{n:5}", "u{n:099}", "\u{fc}{n}"] {
            assert!(Users::template(bad, "pw", 1, 2).is_err(), "{bad}");
        }
        assert!(Users::template("u", "pw", 1, 1).is_ok(), "one user needs no number");
        assert!(Users::template("u{n}", "a\r\nb", 1, 2).is_err(), "no line ends in a password");
    }

    #[test]
    fn a_file_names_its_bad_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# ours\nann:a:b\n\nbob:c\n").expect("it is written");
        let users = Users::file(file.path()).expect("it is fine");
        assert_eq!(users.count(), Some(2));
        assert_eq!(users.at(0).password, "a:b", "a password may hold a colon");
        std::fs::write(file.path(), "ann:a\nbob\n").expect("it is written");
        let error = Users::file(file.path()).expect_err("no password").to_string();
        assert!(error.contains(":2: "), "{error}");
    }
}
