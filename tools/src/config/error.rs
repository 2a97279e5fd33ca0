//! What is wrong with a configuration file, and where.

use std::io;
use std::path::Path;

/// One line: file, line, key, reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn read(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {error}", path.display()))
    }

    /// Not TOML, an unknown key or a value of the wrong type.
    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let number = text[..at].matches('\n').count();
        let key = text.lines().nth(number).and_then(key_of);
        let message = error.message().replace('\n', "; ");
        Self::at(path, number + 1, key, &message)
    }

    /// A value that is of the right type and cannot work.
    pub(super) fn value(path: &Path, text: &str, key: &str, why: String) -> Self {
        match text.lines().position(|line| key_of(line) == Some(key)) {
            Some(number) => Self::at(path, number + 1, Some(key), &why),
            None if key.is_empty() => Self(format!("{}: {why}", path.display())),
            // The default together with another value does not work.
            None => Self(format!("{}: {key}: {why}", path.display())),
        }
    }

    fn at(path: &Path, line: usize, key: Option<&str>, why: &str) -> Self {
        let key = key.map(|key| format!("{key}: ")).unwrap_or_default();
        Self(format!("{}:{line}: {key}{why}", path.display()))
    }
}

/// The last word before `=`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    key.rsplit('.').next().filter(|key| !key.is_empty() && !key.starts_with('#'))
}
