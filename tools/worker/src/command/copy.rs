//! COPY and MOVE, with the codes of UIDPLUS (RFC 4315, RFC 6851).

use std::io::Write as _;

use imap_codec::imap_types::mailbox::Mailbox as NamedMailbox;
use imap_codec::imap_types::sequence::SequenceSet;
use torpor_store::StoreError;

use super::expunge::read_only;
use super::mailbox_name;
use crate::end::Trouble;
use crate::open::open;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::session::Session;

impl Session {
    pub(crate) fn copy(
        &mut self,
        set: &SequenceSet,
        target: &NamedMailbox<'_>,
        by_uid: bool,
        remove: bool,
    ) -> Result<Reply, Trouble> {
        let selected = self.selected.as_mut().expect("checked by the caller");
        let sequences = match selected.view.resolve(set, by_uid) {
            Ok(sequences) => sequences,
            Err(bad) => return Ok(bad.into()),
        };
        if remove && selected.examine {
            return Ok(read_only());
        }
        let mut target = match open(&self.home, &mailbox_name(target)?, &self.log) {
            Err(StoreError::NotFound) => return Ok(try_create()),
            other => other?,
        };
        selected.mailbox.refresh()?;
        let uids = selected.view.uids(&sequences);
        if uids.iter().any(|uid| selected.mailbox.find(*uid).is_none()) {
            return self.synced(Reply::no_expunged());
        }
        let pairs = selected.mailbox.copy(&uids, &mut target, remove)?;
        let code = copy_code(target.uid_validity(), &pairs);
        if remove {
            // The code comes first, so that a client learns the new UIDs before the old ones go.
            if !code.is_empty() {
                write!(self.link, "* OK [{code}] Moved UIDs.\r\n")?;
            }
            return self.synced(Reply::ok("Move completed."));
        }
        self.synced(Reply::ok("Copy completed.").code(code))
    }
}

/// `COPYUID validity from to`, the UIDs in the order of the copies.
fn copy_code(uid_validity: u32, pairs: &[(u32, u32)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let from: Ranges = pairs.iter().map(|(from, _)| *from..=*from).collect();
    let to: Ranges = pairs.iter().map(|(_, to)| *to..=*to).collect();
    format!("COPYUID {uid_validity} {from} {to}")
}

pub(crate) fn try_create() -> Reply {
    Reply::no("Mailbox doesn't exist.").code("TRYCREATE")
}
