//! The selected mailbox: the store's handle, and what the client knows of it.

use torpor_store::{Mailbox, MailboxName};

use crate::view::View;

/// Made by SELECT, EXAMINE and a wake.
#[derive(Debug)]
pub struct Selected {
    pub name: MailboxName,
    pub mailbox: Mailbox,
    pub view: View,
    /// EXAMINE: nothing is changed, not even \Recent.
    pub examine: bool,
}
