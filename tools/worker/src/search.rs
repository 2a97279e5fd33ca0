//! SEARCH and UID SEARCH (RFC 3501 section 6.4.4), with MODSEQ (RFC 7162 section 3.1.5).
//!
//! Messages are asked one after the other and numbers are written as they are found, so what is in
//! memory is at most one message. A message that another session has expunged is not found.

mod candidate;
mod query;

use std::io::Write as _;

use imap_codec::imap_types::core::Charset;
use imap_codec::imap_types::search::SearchKey;
use torpor_store::StoreError;

use crate::end::Trouble;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::session::Session;
use candidate::Candidate;
use query::{Reader, Test};

impl Session {
    pub(crate) fn search(
        &mut self,
        charset: Option<&Charset<'_>>,
        keys: &[SearchKey<'_>],
        uid: bool,
    ) -> Result<Reply, Trouble> {
        if !charset.is_none_or(is_known) {
            let reply = Reply::no("Unknown charset.");
            return Ok(reply.code(format!("BADCHARSET ({})", CHARSETS.join(" "))));
        }
        let has_modseq = keys.iter().any(asks_for_modseq);
        if has_modseq {
            self.enable_condstore()?;
        }
        let selected = self.selected.as_ref().expect("checked by the caller");
        let reader = Reader { mailbox: &selected.mailbox, view: &selected.view };
        let Ok(test) = reader.all(keys) else {
            return Ok(Reply::bad("Invalid UTF-8 in a search string."));
        };
        self.find_all(&test, uid, has_modseq)?;
        self.sync(uid, &Ranges::default())?;
        Ok(Reply::ok("Search completed."))
    }

    /// Writes the line of results, whose end comes even after an error.
    fn find_all(&mut self, test: &Test, uid: bool, has_modseq: bool) -> Result<(), Trouble> {
        let Session { link, selected, .. } = self;
        let selected = selected.as_ref().expect("checked by the caller");
        let (mut highest, mut failure) = (0, None);
        write!(link, "* SEARCH")?;
        for (sequence, message) in selected.view.present(selected.mailbox.messages()) {
            let is_recent = selected.view.is_recent(message.uid);
            let candidate = Candidate::new(&selected.mailbox, sequence, message, is_recent);
            match candidate.fits(test) {
                Ok(true) => {
                    highest = highest.max(message.modseq);
                    write!(link, " {}", if uid { message.uid } else { sequence })?;
                }
                Ok(false) | Err(StoreError::Expunged) => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if has_modseq && highest > 0 {
            write!(link, " (MODSEQ {highest})")?;
        }
        write!(link, "\r\n")?;
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn is_known(charset: &Charset<'_>) -> bool {
    CHARSETS.iter().any(|known| charset.as_ref().eq_ignore_ascii_case(known))
}

fn asks_for_modseq(key: &SearchKey<'_>) -> bool {
    match key {
        SearchKey::ModSequence { .. } => true,
        SearchKey::And(keys) => keys.as_ref().iter().any(asks_for_modseq),
        SearchKey::Not(key) => asks_for_modseq(key),
        SearchKey::Or(one, other) => asks_for_modseq(one) || asks_for_modseq(other),
        _ => false,
    }
}

const CHARSETS: [&str; 2] = ["US-ASCII", "UTF-8"];
