//! LIST and LSUB.

use std::collections::BTreeSet;
use std::io::Write as _;

use imap_codec::imap_types::mailbox::{ListMailbox, Mailbox as NamedMailbox};
use torpor_store::MailboxName;

use super::pattern::Pattern;
use crate::encode::astring;
use crate::end::Trouble;
use crate::reply::Reply;
use crate::session::Session;

impl Session {
    pub(crate) fn list(
        &mut self,
        reference: &NamedMailbox<'_>,
        wanted: &ListMailbox<'_>,
    ) -> Result<Reply, Trouble> {
        if text_of(wanted).is_empty() {
            // Only the separator is asked for (RFC 3501, 6.3.8).
            self.link.write_all(b"* LIST (\\Noselect) \".\" \"\"\r\n")?;
            return Ok(Reply::ok("List completed."));
        }
        let names = self.home.names()?;
        self.tell_names("LIST", &names, reference, wanted)?;
        Ok(Reply::ok("List completed."))
    }

    pub(crate) fn lsub(
        &mut self,
        reference: &NamedMailbox<'_>,
        wanted: &ListMailbox<'_>,
    ) -> Result<Reply, Trouble> {
        let names = self.home.subscriptions()?;
        self.tell_names("LSUB", &names, reference, wanted)?;
        Ok(Reply::ok("Lsub completed."))
    }

    /// The names that match, and the parents that match but are not among the names: of mailboxes
    /// all, as in Dovecot, of subscriptions only with `%`, as RFC 3501 wants it (6.3.9).
    fn tell_names(
        &mut self,
        word: &str,
        names: &[MailboxName],
        reference: &NamedMailbox<'_>,
        wanted: &ListMailbox<'_>,
    ) -> Result<(), Trouble> {
        let reference = match reference {
            NamedMailbox::Inbox => "INBOX".into(),
            NamedMailbox::Other(name) => String::from_utf8_lossy(name.inner().as_ref()),
        };
        let Some(pattern) = Pattern::new(&reference, &text_of(wanted)) else { return Ok(()) };
        let known: BTreeSet<&str> = names.iter().map(MailboxName::as_str).collect();
        let parents: BTreeSet<&str> = known.iter().flat_map(|name| parents(name)).collect();
        let missing =
            parents.difference(&known).filter(|_| word == "LIST" || pattern.names_parents());
        let missing = missing.map(|name| (*name, false));
        let present = names.iter().map(|name| (name.as_str(), true));
        for (name, exists) in present.chain(missing) {
            if !pattern.matches(name) {
                continue;
            }
            let attributes = match (word, exists, parents.contains(name)) {
                ("LSUB", true, _) => "",
                ("LSUB", false, _) => "\\Noselect",
                (_, false, _) => "\\Noselect \\HasChildren",
                (_, true, true) => "\\HasChildren",
                (_, true, false) => "\\HasNoChildren",
            };
            write!(self.link, "* {word} ({attributes}) \".\" ")?;
            astring(&mut self.link, name)?;
            self.link.write_all(b"\r\n")?;
        }
        Ok(())
    }
}

/// Every name above this one.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at])
}

fn text_of(wanted: &ListMailbox<'_>) -> String {
    let bytes = match wanted {
        ListMailbox::Token(token) => token.as_ref(),
        ListMailbox::String(string) => string.as_ref(),
    };
    String::from_utf8_lossy(bytes).into_owned()
}
