//! Telling the client what others have done, at the moments when it may be told.

use std::io::{self, Write};

use torpor_store::StoreError;

use crate::encode::{FetchShape, fetch_flags, flag_lists, vanished};
use crate::end::{End, Trouble};
use crate::features::Features;
use crate::ranges::Ranges;
use crate::selected::Selected;

/// What may be said now.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    pub features: Features,
    /// False in FETCH, STORE and SEARCH by sequence number: a client that has more commands on the
    /// way would take the wrong message (RFC 3501, 7.4.1).
    pub expunges: bool,
    /// UIDs of messages whose flags the client knows, as the mailbox has them before its refresh.
    pub known: &'a Ranges,
}

/// What a sync has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Anything at all.
    pub any: bool,
    /// That messages are gone.
    pub expunges: bool,
}

impl Selected {
    /// Takes in what the store knows and tells it. Streams: a list of any length costs no memory
    /// here beyond the ranges of a VANISHED.
    pub fn sync(&mut self, out: &mut impl Write, telling: Telling<'_>) -> Result<Told, Trouble> {
        let uid_validity = self.mailbox.uid_validity();
        // What is known was told from these; a later change of the same message is news.
        let known_to = self.mailbox.highest_modseq();
        let refreshed = self.mailbox.refresh();
        let is_damaged = matches!(refreshed, Err(StoreError::Damaged { .. }));
        if is_damaged || self.mailbox.uid_validity() != uid_validity {
            return Err(End::Inconsistent("UIDVALIDITY changed, please reconnect").into());
        }
        refreshed?;
        self.claim_recent()?;
        if self.is_current() {
            return Ok(Told::default());
        }
        let known = self.view.uids.len();
        if telling.expunges {
            self.tell_expunges(out, telling.features)?;
        }
        let expunges = self.view.uids.len() < known;
        self.tell_keywords(out)?;
        self.tell_flags(out, telling, known_to)?;
        self.tell_arrivals(out)?;
        self.tell_recent(out)?;
        Ok(Told { any: true, expunges })
    }

    /// \Recent belongs to the first session that hears of a message; EXAMINE shows it and leaves it
    /// to others.
    pub(crate) fn claim_recent(&mut self) -> Result<(), Trouble> {
        if self.examine {
            let messages = self.mailbox.messages();
            let unclaimed = messages.iter().rev().take(self.mailbox.recent() as usize).rev();
            for message in unclaimed.filter(|message| message.uid >= self.view.uid_next) {
                self.view.recent.push(message.uid..=message.uid);
            }
            return Ok(());
        }
        if let Some(claimed) = self.mailbox.claim_recent()? {
            self.view.recent.push(claimed);
        }
        Ok(())
    }

    fn is_current(&self) -> bool {
        self.view.modseq == self.mailbox.highest_modseq()
            && self.view.uid_next == self.mailbox.uid_next()
            && self.view.uids.len() == self.mailbox.messages().len()
    }

    fn tell_expunges(&mut self, out: &mut impl Write, features: Features) -> io::Result<()> {
        let mut rest = self.mailbox.messages();
        let mut gone = Ranges::default();
        let mut kept = 0;
        for at in 0..self.view.uids.len() {
            let uid = self.view.uids[at];
            while rest.first().is_some_and(|message| message.uid < uid) {
                rest = &rest[1..];
            }
            if rest.first().is_some_and(|message| message.uid == uid) {
                self.view.uids[kept] = uid;
                kept += 1;
            } else if features.qresync {
                gone.push(uid..=uid);
            } else {
                write!(out, "* {} EXPUNGE\r\n", kept + 1)?;
            }
        }
        self.view.uids.truncate(kept);
        vanished(out, "", &gone)
    }

    pub(crate) fn tell_keywords(&mut self, out: &mut impl Write) -> io::Result<()> {
        let keywords = self.mailbox.keywords();
        if keywords.len() > self.view.keywords {
            flag_lists(out, keywords, self.examine)?;
        }
        self.view.keywords = keywords.len();
        Ok(())
    }

    fn tell_flags(
        &mut self,
        out: &mut impl Write,
        telling: Telling<'_>,
        known_to: u64,
    ) -> io::Result<()> {
        let (keywords, view) = (self.mailbox.keywords(), &self.view);
        let shape = FetchShape::flags(telling.features);
        for (sequence, message) in view.present(self.mailbox.messages()) {
            let is_known = message.modseq <= known_to && telling.known.contains(message.uid);
            if message.modseq > view.modseq && !is_known {
                let is_recent = view.is_recent(message.uid);
                fetch_flags(out, sequence, message, is_recent, keywords, shape)?;
            }
        }
        self.view.modseq = self.mailbox.highest_modseq();
        Ok(())
    }

    fn tell_arrivals(&mut self, out: &mut impl Write) -> io::Result<()> {
        let messages = self.mailbox.messages();
        let first = messages.partition_point(|message| message.uid < self.view.uid_next);
        self.view.uid_next = self.mailbox.uid_next();
        if first == messages.len() {
            return Ok(());
        }
        self.view.uids.extend(messages[first..].iter().map(|message| message.uid));
        write!(out, "* {} EXISTS\r\n", self.view.count())
    }

    /// Only if it is another number than before, like Dovecot.
    fn tell_recent(&mut self, out: &mut impl Write) -> io::Result<()> {
        let recent = self.view.recent_count();
        if recent != self.view.recent_told {
            write!(out, "* {recent} RECENT\r\n")?;
        }
        self.view.recent_told = recent;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use torpor_store::{FlagChange, Flags, Home, Mailbox, MailboxName};

    use super::*;
    use crate::view::View;

    fn open(home: &Home) -> Mailbox {
        home.open_mailbox(&MailboxName::inbox()).expect("INBOX is there")
    }

    /// Another session changes the message between our own change and the sync that follows it.
    #[test]
    fn what_is_known_hides_no_later_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::open(dir.path()).expect("a home");
        let (mut ours, mut theirs) = (open(&home), open(&home));
        ours.append(&mut &b"Subject: x\r\n\r\n"[..], 14, Flags::default(), None).expect("mail");
        let mut selected = Selected {
            name: MailboxName::inbox(),
            mailbox: ours,
            view: View::default(),
            examine: false,
        };
        let sync = |selected: &mut Selected, known: &Ranges| {
            let mut out = Vec::new();
            let telling = Telling { features: Features::default(), expunges: true, known };
            assert!(selected.sync(&mut out, telling).is_ok());
            String::from_utf8(out).expect("text")
        };
        sync(&mut selected, &Ranges::default());
        let known: Ranges = [1..=1].into_iter().collect();
        let change = |mailbox: &mut Mailbox, flags| {
            mailbox.change_flags(&[1], FlagChange::Add, flags, None).expect("changed");
        };
        change(&mut selected.mailbox, Flags::SEEN);
        assert_eq!(sync(&mut selected, &known), "", "our own change was told by the command");
        change(&mut selected.mailbox, Flags::ANSWERED);
        change(&mut theirs, Flags::FLAGGED);
        assert!(sync(&mut selected, &known).contains("\\Flagged"));
    }
}
