//! EXPUNGE, UID EXPUNGE, CLOSE and UNSELECT.

use imap_codec::imap_types::sequence::SequenceSet;
use torpor_store::Flags;

use crate::end::Trouble;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::selected::Selected;
use crate::session::Session;

impl Session {
    /// With a set, only the messages whose UIDs are in it (RFC 4315, 2.1).
    pub(crate) fn expunge(&mut self, only: Option<&SequenceSet>) -> Result<Reply, Trouble> {
        let selected = self.selected.as_mut().expect("checked by the caller");
        if selected.examine {
            return Ok(read_only());
        }
        let gone = selected.expunge_deleted(only)?;
        self.statistics.expunged_count = self.statistics.expunged_count.saturating_add(gone);
        self.synced(Reply::ok("Expunge completed."))
    }

    /// Expunges like EXPUNGE, without a word of it (RFC 3501, 6.4.2).
    pub(crate) fn close(&mut self) -> Result<Reply, Trouble> {
        let selected = self.selected.as_mut().expect("checked by the caller");
        let gone = if selected.examine { 0 } else { selected.expunge_deleted(None)? };
        self.statistics.expunged_count = self.statistics.expunged_count.saturating_add(gone);
        let modseq = selected.mailbox.highest_modseq();
        self.selected = None;
        let reply = Reply::ok("Close completed.");
        // Here as well a client learns where it stands (RFC 7162, 3.2.8).
        Ok(match gone > 0 && self.features.qresync {
            true => reply.code(format!("HIGHESTMODSEQ {modseq}")),
            false => reply,
        })
    }

    pub(crate) fn unselect(&mut self) -> Result<Reply, Trouble> {
        self.selected = None;
        Ok(Reply::ok("Unselect completed."))
    }
}

impl Selected {
    /// Only what the client knows to be \Deleted messages of its view; returns how many went.
    fn expunge_deleted(&mut self, only: Option<&SequenceSet>) -> Result<u32, Trouble> {
        self.mailbox.refresh()?;
        let largest = self.view.uids.last().copied().unwrap_or(u32::MAX);
        let only = only.map(|set| Ranges::named(set, largest));
        let is_meant = |uid| only.as_ref().is_none_or(|only| only.contains(uid));
        let deleted = self.view.present(self.mailbox.messages()).map(|(_, message)| message);
        let deleted = deleted.filter(|message| message.flags.contains(Flags::DELETED));
        let uids: Vec<u32> =
            deleted.map(|message| message.uid).filter(|uid| is_meant(*uid)).collect();
        if uids.is_empty() {
            return Ok(0);
        }
        let gone = self.mailbox.expunge(&uids)?;
        Ok(u32::try_from(gone.len()).expect("UIDs are 32 bits"))
    }
}

pub(crate) fn read_only() -> Reply {
    Reply::no("Mailbox is read-only.").code("READ-ONLY")
}
