//! SELECT and EXAMINE, with the catching up of QRESYNC (RFC 7162, 3.2.5).

use std::io::Write as _;
use std::num::NonZeroU32;

use imap_codec::imap_types::command::SelectParameter;
use imap_codec::imap_types::mailbox::Mailbox as NamedMailbox;
use imap_codec::imap_types::sequence::SequenceSet;
use torpor_store::{Flags, Mailbox, MailboxName, Message};

use super::mailbox_name;
use crate::encode::{FetchShape, fetch_flags, flag_lists, vanished};
use crate::end::Trouble;
use crate::open::open;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::selected::Selected;
use crate::session::Session;
use crate::view::View;

impl Session {
    pub(crate) fn select(
        &mut self,
        named: &NamedMailbox<'_>,
        parameters: &[SelectParameter],
        examine: bool,
    ) -> Result<Reply, Trouble> {
        let resync = parameters.iter().find_map(Resync::of);
        if resync.is_some() && !self.features.qresync {
            return Ok(Reply::bad("QRESYNC not enabled."));
        }
        // Even a SELECT that fails leaves the mailbox before (RFC 3501, 6.3.1).
        if self.selected.take().is_some() {
            self.link.write_all(b"* OK [CLOSED] Previous mailbox closed.\r\n")?;
        }
        if parameters.contains(&SelectParameter::CondStore) {
            self.features.condstore = true;
        }
        let name = mailbox_name(named)?;
        let mailbox = open(&self.home, &name, &self.log)?;
        let selected = Selected::open(name, mailbox, examine)?;
        selected.tell_itself(&mut self.link)?;
        if let Some(resync) = resync {
            selected.catch_up(&mut self.link, &resync)?;
        }
        self.selected = Some(selected);
        Ok(match examine {
            true => Reply::ok("Examine completed.").code("READ-ONLY"),
            false => Reply::ok("Select completed.").code("READ-WRITE"),
        })
    }
}

impl Selected {
    /// With everything that is in the mailbox now.
    pub(crate) fn open(
        name: MailboxName,
        mailbox: Mailbox,
        examine: bool,
    ) -> Result<Self, Trouble> {
        let mut selected = Self { name, mailbox, view: View::default(), examine };
        selected.claim_recent()?;
        let Selected { mailbox, view, .. } = &mut selected;
        view.uids = mailbox.messages().iter().map(|message| message.uid).collect();
        view.modseq = mailbox.highest_modseq();
        view.uid_next = mailbox.uid_next();
        view.keywords = mailbox.keywords().len();
        view.recent_told = view.recent_count();
        Ok(selected)
    }

    fn tell_itself(&self, out: &mut impl std::io::Write) -> Result<(), Trouble> {
        let Selected { mailbox, view, examine, .. } = self;
        flag_lists(out, mailbox.keywords(), *examine)?;
        write!(out, "* {} EXISTS\r\n* {} RECENT\r\n", view.count(), view.recent_count())?;
        let is_unseen = |message: &Message| !message.flags.contains(Flags::SEEN);
        if let Some(at) = mailbox.messages().iter().position(is_unseen) {
            write!(out, "* OK [UNSEEN {}] First unseen.\r\n", at + 1)?;
        }
        write!(out, "* OK [UIDVALIDITY {}] UIDs valid\r\n", mailbox.uid_validity())?;
        write!(out, "* OK [UIDNEXT {}] Predicted next UID\r\n", view.uid_next)?;
        write!(out, "* OK [HIGHESTMODSEQ {}] Highest\r\n", view.modseq)?;
        Ok(())
    }

    /// What has happened since the client was here last, unless its UIDs are not worth anything.
    fn catch_up(&self, out: &mut impl std::io::Write, resync: &Resync<'_>) -> Result<(), Trouble> {
        let Selected { mailbox, view, .. } = self;
        if resync.uid_validity.get() != mailbox.uid_validity() {
            return Ok(());
        }
        let below = view.uid_next.saturating_sub(1);
        let all: Ranges = std::iter::once(1..=below).collect();
        let known = resync.known_uids.map_or(all, |known| Ranges::named(known, below));
        let gone: Ranges = mailbox.expunged_since(resync.modseq).into_iter().collect();
        vanished(out, "(EARLIER) ", &gone.intersection(&known))?;
        let shape = FetchShape { uid: true, flags: true, modseq: true };
        for (sequence, message) in view.present(mailbox.messages()) {
            if message.modseq > resync.modseq && known.contains(message.uid) {
                let is_recent = view.is_recent(message.uid);
                fetch_flags(out, sequence, message, is_recent, mailbox.keywords(), shape)?;
            }
        }
        Ok(())
    }
}

/// The QRESYNC parameter. Its sequence match data lets a server that has forgotten old expunges
/// guess better; this one forgets none, so they are not looked at.
struct Resync<'a> {
    uid_validity: NonZeroU32,
    modseq: u64,
    known_uids: Option<&'a SequenceSet>,
}

impl<'a> Resync<'a> {
    fn of(parameter: &'a SelectParameter) -> Option<Self> {
        match parameter {
            SelectParameter::QResync { uid_validity, mod_sequence_value, known_uids, .. } => {
                Some(Self {
                    uid_validity: *uid_validity,
                    modseq: mod_sequence_value.get(),
                    known_uids: known_uids.as_ref(),
                })
            }
            SelectParameter::CondStore => None,
        }
    }
}
