//! STATUS.

use std::io::Write as _;

use imap_codec::imap_types::mailbox::Mailbox as NamedMailbox;
use imap_codec::imap_types::status::StatusDataItemName as Item;

use super::mailbox_name;
use crate::encode::astring;
use crate::end::Trouble;
use crate::reply::Reply;
use crate::session::Session;

impl Session {
    /// Asking for HIGHESTMODSEQ enables CONDSTORE (RFC 7162, 3.1).
    pub(crate) fn status(
        &mut self,
        named: &NamedMailbox<'_>,
        items: &[Item],
    ) -> Result<Reply, Trouble> {
        let name = mailbox_name(named)?;
        let status = self.home.status(&name)?;
        if items.contains(&Item::HighestModSeq) {
            self.enable_condstore()?;
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            texts.push(match item {
                Item::Messages => format!("MESSAGES {}", status.messages),
                Item::Recent => format!("RECENT {}", status.recent),
                Item::UidNext => format!("UIDNEXT {}", status.uid_next),
                Item::UidValidity => format!("UIDVALIDITY {}", status.uid_validity),
                Item::Unseen => format!("UNSEEN {}", status.unseen),
                Item::HighestModSeq => format!("HIGHESTMODSEQ {}", status.highest_modseq),
                _ => return Ok(Reply::bad("Unknown status item.")),
            });
        }
        self.link.write_all(b"* STATUS ")?;
        astring(&mut self.link, name.as_str())?;
        write!(self.link, " ({})\r\n", texts.join(" "))?;
        Ok(Reply::ok("Status completed."))
    }
}
