//! STORE and UID STORE, with UNCHANGEDSINCE (RFC 7162, 3.1.3).

use imap_codec::imap_types::command::StoreModifier;
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::sequence::SequenceSet;
use torpor_store::{Changed, FlagChange, Flags};

use super::expunge::read_only;
use super::known_flags;
use crate::encode::{FetchShape, fetch_flags};
use crate::end::Trouble;
use crate::ranges::Ranges;
use crate::reply::Reply;
use crate::session::Session;

/// Everything but the set of a STORE.
pub(crate) struct StoreWish<'a> {
    pub kind: StoreType,
    pub response: StoreResponse,
    pub flags: Vec<Flag<'a>>,
    pub uid: bool,
    pub modifiers: Vec<StoreModifier>,
}

impl Session {
    pub(crate) fn store(
        &mut self,
        set: &SequenceSet,
        wish: &StoreWish<'_>,
    ) -> Result<Reply, Trouble> {
        let selected = self.selected.as_ref().expect("checked by the caller");
        let sequences = match selected.view.resolve(set, wish.uid) {
            Ok(sequences) => sequences,
            Err(bad) => return Ok(bad.into()),
        };
        if selected.examine {
            return Ok(read_only());
        }
        let unchanged_since = match wish.modifiers.as_slice() {
            [] => None,
            [StoreModifier::UnchangedSince(modseq)] => Some(*modseq),
            _ => return Ok(Reply::bad("Duplicate UNCHANGEDSINCE.")),
        };
        if unchanged_since.is_some() {
            self.enable_condstore()?;
        }
        // So that whatever differs afterwards is our own doing, and new keywords are told of.
        self.sync(false, &Ranges::default())?;
        let (how, flags) = match self.change_of(wish)? {
            Ok(change) => change,
            Err(reply) => return Ok(reply),
        };
        let selected = self.selected.as_mut().expect("checked above");
        let uids = selected.view.uids(&sequences);
        let changed = selected.mailbox.change_flags(&uids, how, flags, unchanged_since)?;
        self.count_deleted(how, flags, &changed);
        let modified: Ranges = changed.modified.iter().map(|uid| *uid..=*uid).collect();
        let told = self.tell_stored(&sequences, wish, &changed, &modified)?;
        self.sync(wish.uid, &told)?;
        Ok(self.store_reply(&uids, wish.uid, &modified))
    }

    fn change_of(
        &mut self,
        wish: &StoreWish<'_>,
    ) -> Result<Result<(FlagChange, Flags), Reply>, Trouble> {
        let selected = self.selected.as_mut().expect("checked by the caller");
        let how = match wish.kind {
            StoreType::Add => FlagChange::Add,
            StoreType::Remove => FlagChange::Remove,
            StoreType::Replace => FlagChange::Replace,
        };
        // A keyword that no message has need not be added to be removed.
        let add = how != FlagChange::Remove;
        let flags = known_flags(&mut selected.mailbox, &wish.flags, add)?;
        selected.tell_keywords(&mut self.link)?;
        Ok(flags.map(|flags| (how, flags)))
    }

    fn count_deleted(&mut self, how: FlagChange, flags: Flags, changed: &Changed) {
        if how != FlagChange::Remove && flags.contains(Flags::DELETED) {
            let count = u32::try_from(changed.changed.len()).expect("UIDs are 32 bits");
            let deleted = &mut self.statistics.deleted_count;
            *deleted = deleted.saturating_add(count);
        }
    }

    /// The new flags of what was named, or with `.SILENT` only the new modseqs of what was changed;
    /// returns the UIDs whose flags the client knows now.
    fn tell_stored(
        &mut self,
        sequences: &Ranges,
        wish: &StoreWish<'_>,
        changed: &Changed,
        modified: &Ranges,
    ) -> Result<Ranges, Trouble> {
        let selected = self.selected.as_ref().expect("checked by the caller");
        let is_silent = wish.response == StoreResponse::Silent;
        let changed: Ranges = changed.changed.iter().map(|uid| *uid..=*uid).collect();
        let shape = FetchShape {
            uid: wish.uid || self.features.qresync,
            flags: !is_silent,
            modseq: self.features.condstore,
        };
        let mut told = Ranges::default();
        for (sequence, message) in selected.view.present(selected.mailbox.messages()) {
            let (uid, is_changed) = (message.uid, changed.contains(message.uid));
            let is_named = sequences.contains(sequence) && !modified.contains(uid);
            if !is_named || (is_silent && !is_changed) {
                continue;
            }
            told.push(uid..=uid);
            if shape.flags || shape.modseq {
                let (is_recent, keywords) =
                    (selected.view.is_recent(uid), selected.mailbox.keywords());
                fetch_flags(&mut self.link, sequence, message, is_recent, keywords, shape)?;
            }
        }
        Ok(told)
    }

    fn store_reply(&self, uids: &[u32], by_uid: bool, modified: &Ranges) -> Reply {
        let selected = self.selected.as_ref().expect("checked by the caller");
        let is_gone = |uid: &u32| selected.mailbox.find(*uid).is_none();
        if !modified.is_empty() {
            let failed = if by_uid { modified.clone() } else { selected.view.sequences(modified) };
            return Reply::ok("Conditional STORE failed.").code(format!("MODIFIED {failed}"));
        }
        match uids.iter().any(is_gone) {
            true => Reply::no_expunged(),
            false => Reply::ok("Store completed."),
        }
    }
}
