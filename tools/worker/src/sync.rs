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
    /// UIDs of messages whose present flags the client knows already.
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
        self.tell_flags(out, telling)?;
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

    fn tell_flags(&mut self, out: &mut impl Write, telling: Telling<'_>) -> io::Result<()> {
        let (keywords, view) = (self.mailbox.keywords(), &self.view);
        let shape = FetchShape::flags(telling.features);
        for (sequence, message) in view.present(self.mailbox.messages()) {
            if message.modseq > view.modseq && !telling.known.contains(message.uid) {
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
