//! FETCH and UID FETCH (RFC 3501 section 6.4.5), with CHANGEDSINCE and VANISHED (RFC 7162).
//!
//! Messages are answered one after the other: what is in memory at a time is one of them, and of
//! that only what was asked for. A message that another session has expunged is passed over, and
//! the command says so, as Dovecot 2.3 does (RFC 2180 section 4.1.3).

mod answer;
mod plan;

use std::num::NonZeroU64;

use imap_codec::imap_types::command::FetchModifier;
use imap_codec::imap_types::fetch::MacroOrMessageDataItemNames;
use imap_codec::imap_types::sequence::SequenceSet;
use torpor_store::{FlagChange, Flags, StoreError};

use crate::encode::vanished;
use crate::end::Trouble;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::selected::Selected;
use crate::session::Session;
use answer::{Answer, Material};
use plan::Plan;

/// Everything but the set of a FETCH.
pub(crate) struct FetchWish<'a> {
    pub names: MacroOrMessageDataItemNames<'a>,
    pub uid: bool,
    pub modifiers: Vec<FetchModifier>,
}

impl Session {
    pub(crate) fn fetch(
        &mut self,
        set: &SequenceSet,
        wish: &FetchWish<'_>,
    ) -> Result<Reply, Trouble> {
        let selected = self.selected.as_ref().expect("checked by the caller");
        let sequences = match selected.view.resolve(set, wish.uid) {
            Ok(sequences) => sequences,
            Err(bad) => return Ok(bad.into()),
        };
        let (changed_since, is_vanished) = match self.modifiers(wish) {
            Ok(modifiers) => modifiers,
            Err(reply) => return Ok(reply),
        };
        let mut plan = match Plan::new(&wish.names) {
            Ok(plan) => plan,
            Err(item) => return Ok(Reply::bad(format!("Unknown FETCH item {item}."))),
        };
        plan.add_implied(wish.uid || self.features.qresync, changed_since.is_some());
        if plan.asks_for_modseq() {
            self.enable_condstore()?;
        }
        let changed_since = changed_since.map_or(0, NonZeroU64::get);
        if is_vanished {
            let selected = self.selected.as_ref().expect("checked above");
            let gone = selected.vanished_since(set, changed_since);
            vanished(&mut self.link, "(EARLIER) ", &gone)?;
        }
        let was_complete = self.answer_all(&plan, &sequences, changed_since)?;
        self.sync(wish.uid, &Ranges::default())?;
        let reply = Reply::ok("Fetch completed.");
        Ok(match was_complete {
            true => reply,
            false => Reply::ok("Some messages were already expunged.").code("EXPUNGEISSUED"),
        })
    }

    /// CHANGEDSINCE, and whether VANISHED is there, which RFC 7162 section 3.2.6 allows with
    /// QRESYNC, UID FETCH and CHANGEDSINCE alone.
    fn modifiers(&self, wish: &FetchWish<'_>) -> Result<(Option<NonZeroU64>, bool), Reply> {
        let (mut since, mut is_vanished) = (None, false);
        for modifier in &wish.modifiers {
            match modifier {
                FetchModifier::ChangedSince(modseq) => since = Some(*modseq),
                FetchModifier::Vanished => is_vanished = true,
            }
        }
        match is_vanished && !(self.features.qresync && wish.uid && since.is_some()) {
            true => Err(Reply::bad("VANISHED needs QRESYNC, UID FETCH and CHANGEDSINCE.")),
            false => Ok((since, is_vanished)),
        }
    }

    /// False if some of the messages have been expunged meanwhile. \Seen is set when all is
    /// written, so a client that goes away has not read what it did not take; `sync` tells of it.
    fn answer_all(
        &mut self,
        plan: &Plan<'_>,
        sequences: &Ranges,
        changed_since: u64,
    ) -> Result<bool, Trouble> {
        let Session { link, selected, statistics, .. } = self;
        let selected = selected.as_mut().expect("checked by the caller");
        let (mut was_complete, mut unseen) = (true, Vec::new());
        for sequence in sequences.numbers() {
            let uid = selected.view.uid(sequence);
            let Some(message) = selected.mailbox.find(uid) else {
                was_complete = false;
                continue;
            };
            if message.modseq <= changed_since {
                continue;
            }
            let material = match Material::gather(&selected.mailbox, uid, plan) {
                Err(StoreError::Expunged) => {
                    was_complete = false;
                    continue;
                }
                material => material?,
            };
            let is_recent = selected.view.is_recent(uid);
            let keywords = selected.mailbox.keywords();
            let answer = Answer { plan, sequence, message, is_recent, keywords, material };
            answer.write(link, statistics)?;
            if plan.marks_seen() && !message.flags.contains(Flags::SEEN) {
                unseen.push(uid);
            }
        }
        if !unseen.is_empty() && !selected.examine {
            self.mark_seen(&unseen)?;
        }
        Ok(was_complete)
    }

    /// Reading must go on where nothing can be written any more.
    fn mark_seen(&mut self, uids: &[u32]) -> Result<(), Trouble> {
        let selected = self.selected.as_mut().expect("checked by the caller");
        match selected.mailbox.change_flags(uids, FlagChange::Add, Flags::SEEN, None) {
            Ok(_) => {}
            Err(error @ StoreError::NoSpace) => self.log.error(&error),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Selected {
    /// The UIDs of a set that are gone since then, but for those of which the client has to be
    /// told without EARLIER, since they still have a sequence number.
    fn vanished_since(&self, set: &SequenceSet, modseq: u64) -> Ranges {
        let named = Ranges::named(set, self.view.uid_next.saturating_sub(1));
        let gone: Ranges = self.mailbox.expunged_since(modseq).into_iter().collect();
        let gone = gone.intersection(&named);
        let still_known = self.view.uids(&self.view.sequences(&gone));
        let mut untold = Ranges::default();
        let mut known = still_known.into_iter().peekable();
        for range in gone.ranges() {
            let mut from = *range.start();
            while let Some(uid) = known.next_if(|uid| uid <= range.end()) {
                if from < uid {
                    untold.push(from..=uid - 1);
                }
                from = uid + 1;
            }
            if from <= *range.end() {
                untold.push(from..=*range.end());
            }
        }
        untold
    }
}
