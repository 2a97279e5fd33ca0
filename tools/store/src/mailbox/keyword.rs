//! Keywords: flags that clients name. They live in the index alone.
//!
//! Other programs use the letters a to z of a file's name for keywords, each with a table of its
//! own; such letters are kept, but never given a meaning.

use super::Mailbox;
use crate::index::{Batch, Reach};
use crate::{Flags, StoreError};

impl Mailbox {
    /// The number of a keyword in any case, given out now if the mailbox does not know it yet;
    /// None if it has `Flags::KEYWORDS_MAX` others.
    pub fn keyword(&mut self, name: &str) -> Result<Option<u8>, StoreError> {
        if name.is_empty() || name.len() > KEYWORD_BYTES_MAX {
            return Err(StoreError::TooMany { what: "bytes in a keyword" });
        }
        if let Some(number) = self.known_keyword(name) {
            return Ok(Some(number));
        }
        let _lock = self.folder.lock()?;
        self.index.catch_up(&self.folder)?;
        let known = self.known_keyword(name);
        if known.is_some() || self.keywords().len() == Flags::KEYWORDS_MAX {
            return Ok(known);
        }
        let mut batch = Batch::default();
        batch.keyword(name);
        self.index.commit(&self.folder, &mut batch, Reach::Cache)?;
        Ok(self.known_keyword(name))
    }

    fn known_keyword(&self, name: &str) -> Option<u8> {
        let at = self.keywords().iter().position(|known| known.eq_ignore_ascii_case(name))?;
        u8::try_from(at).ok()
    }
}

/// Longer ones are no keyword that a person or program uses.
const KEYWORD_BYTES_MAX: usize = 200;
