//! Opening a mailbox.

use torpor_store::{Home, Mailbox, MailboxName, StoreError};

use crate::log::Log;

/// Opens it, and tells the admin if its index was damaged: its UIDs are new ones then, and every
/// client fetches the whole mailbox again.
pub fn open(home: &Home, name: &MailboxName, log: &Log) -> Result<Mailbox, StoreError> {
    let mailbox = home.open_mailbox(name)?;
    if let Some(reason) = mailbox.rebuilt() {
        log.error(format_args!("The index of {} was built anew: {reason}", name.as_str()));
    }
    Ok(mailbox)
}
