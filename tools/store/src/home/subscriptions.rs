//! What a user is subscribed to: a file of names, one a line, replaced as a whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};

use super::Home;
use crate::{MailboxName, StoreError};

impl Home {
    /// What is subscribed to, INBOX first, then sorted; it need not exist (RFC 3501 6.3.9).
    pub fn subscriptions(&self) -> Result<Vec<MailboxName>, StoreError> {
        Ok(self.read_subscriptions()?.into_iter().collect())
    }

    pub fn subscribe(&self, name: &MailboxName) -> Result<(), StoreError> {
        self.change_subscriptions(|names| names.insert(name.clone()))
    }

    /// Not being subscribed is no error.
    pub fn unsubscribe(&self, name: &MailboxName) -> Result<(), StoreError> {
        self.change_subscriptions(|names| names.remove(name))
    }

    fn read_subscriptions(&self) -> Result<BTreeSet<MailboxName>, StoreError> {
        match fs::read(self.root.join(FILE)) {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                // Lines of other programs that are no names here are of no use to a client.
                Ok(text.lines().filter_map(|line| MailboxName::parse(line).ok()).collect())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(StoreError::io("reading subscriptions")(error)),
        }
    }

    fn change_subscriptions(
        &self,
        change: impl FnOnce(&mut BTreeSet<MailboxName>) -> bool,
    ) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut names = self.read_subscriptions()?;
        if !change(&mut names) {
            return Ok(());
        }
        if names.len() > SUBSCRIPTIONS_MAX {
            return Err(StoreError::TooMany { what: "subscriptions" });
        }
        let failed = StoreError::io("writing subscriptions");
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        let mut file = File::create(self.root.join(NEW_FILE)).map_err(&failed)?;
        file.write_all(text.as_bytes()).map_err(&failed)?;
        // The old list may be on the disk already, and must not be replaced by one that is not.
        file.sync_data().map_err(&failed)?;
        fs::rename(self.root.join(NEW_FILE), self.root.join(FILE)).map_err(&failed)
    }
}

/// The name that other Maildir++ programs use too.
const FILE: &str = "subscriptions";
const NEW_FILE: &str = "subscriptions.torpor";
const SUBSCRIPTIONS_MAX: usize = 100_000;
