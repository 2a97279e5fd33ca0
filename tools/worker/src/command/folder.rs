//! Commands that make, remove and name mailboxes.

use imap_codec::imap_types::mailbox::Mailbox as NamedMailbox;

use super::mailbox_name;
use crate::end::Trouble;
use crate::reply::Reply;
use crate::session::Session;

impl Session {
    pub(crate) fn create(&mut self, named: &NamedMailbox<'_>) -> Result<Reply, Trouble> {
        // A separator at the end says that children are to come (RFC 3501, 6.3.3); any mailbox may
        // have children here.
        let name = match named {
            NamedMailbox::Other(other) => {
                let text = String::from_utf8_lossy(other.inner().as_ref()).into_owned();
                torpor_store::MailboxName::parse(text.strip_suffix('.').unwrap_or(&text))?
            }
            NamedMailbox::Inbox => mailbox_name(named)?,
        };
        self.home.create(&name)?;
        Ok(Reply::ok("Create completed."))
    }

    pub(crate) fn delete(&mut self, named: &NamedMailbox<'_>) -> Result<Reply, Trouble> {
        let name = mailbox_name(named)?;
        if name.is_inbox() {
            return Ok(Reply::no("INBOX can't be deleted.").code("CANNOT"));
        }
        if self.selected.as_ref().is_some_and(|selected| selected.name == name) {
            self.selected = None;
        }
        self.home.delete(&name)?;
        Ok(Reply::ok("Delete completed."))
    }

    pub(crate) fn rename(
        &mut self,
        from: &NamedMailbox<'_>,
        to: &NamedMailbox<'_>,
    ) -> Result<Reply, Trouble> {
        let (from, to) = (mailbox_name(from)?, mailbox_name(to)?);
        self.home.rename(&from, &to)?;
        Ok(Reply::ok("Rename completed."))
    }

    /// A name may be subscribed to before and after its mailbox exists (RFC 3501, 6.3.6).
    pub(crate) fn subscribe(&mut self, named: &NamedMailbox<'_>) -> Result<Reply, Trouble> {
        self.home.subscribe(&mailbox_name(named)?)?;
        Ok(Reply::ok("Subscribe completed."))
    }

    pub(crate) fn unsubscribe(&mut self, named: &NamedMailbox<'_>) -> Result<Reply, Trouble> {
        self.home.unsubscribe(&mailbox_name(named)?)?;
        Ok(Reply::ok("Unsubscribe completed."))
    }
}
