//! A session's state, taken out of it and put back into another process.
//!
//! What the client knows is found again from what the store remembers: the messages it knew are
//! those that are still there below `uid_next`, and those that went after `modseq`. Their number
//! and the CRC-32 of their UIDs tell whether that is what it knew.

use torpor_store::{Home, MailboxName, StoreError};

use crate::limits::RECENT_RANGES_MAX;
use crate::log::Log;
use crate::open::open;
use crate::ranges::Ranges;
use crate::selected::Selected;
use crate::session::Session;
use crate::state::{SelectedState, State};
use crate::view::View;

/// Why a mailbox cannot be selected again as it was.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Others have deleted, renamed or rebuilt it. The client has to start anew.
    #[error("{0}")]
    Changed(&'static str),
    /// Host: it may work later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Session {
    pub(crate) fn state(&self) -> State {
        State { features: self.features, selected: self.selected.as_ref().map(Selected::state) }
    }
}

impl Selected {
    /// To be taken right after a sync in which everything could be told.
    pub fn state(&self) -> SelectedState {
        let View { uids, recent, modseq, uid_next, keywords, .. } = &self.view;
        let mut recent = recent.clone();
        recent.keep_last(RECENT_RANGES_MAX);
        SelectedState {
            name: self.name.as_str().to_owned(),
            examine: self.examine,
            uid_validity: self.mailbox.uid_validity(),
            uid_next: *uid_next,
            count: self.view.count(),
            modseq: *modseq,
            uids_crc: crc(uids),
            keywords: u32::try_from(*keywords).expect("at most 56"),
            recent,
        }
    }

    /// With the view that the client had; a sync then tells it the rest.
    pub(crate) fn restore(
        state: &SelectedState,
        home: &Home,
        vanished: bool,
        log: &Log,
    ) -> Result<Self, Lost> {
        let name = MailboxName::parse(&state.name)?;
        let mailbox = match open(home, &name, log) {
            Err(StoreError::NotFound) => return Err(Lost::Changed("Selected mailbox was deleted")),
            other => other?,
        };
        if mailbox.uid_validity() != state.uid_validity {
            return Err(Lost::Changed("UIDVALIDITY changed, please reconnect"));
        }
        let messages = mailbox.messages();
        let below = messages.partition_point(|message| message.uid < state.uid_next);
        let live = messages[..below].iter().map(|message| message.uid);
        let known: Ranges =
            (state.uid_next > 1).then(|| 1..=state.uid_next - 1).into_iter().collect();
        let gone: Ranges = mailbox.expunged_since(state.modseq).into_iter().collect();
        let uids = merged(live, gone.intersection(&known));
        // A VANISHED may name more than the client knew, an EXPUNGE may not (RFC 7162, 3.2.10).
        let count = state.count as usize;
        let is_known = uids.len() == count && crc(&uids) == state.uids_crc;
        if !(is_known || vanished && uids.len() > count) {
            return Err(Lost::Changed("IMAP session state is inconsistent, please relogin"));
        }
        let mut view = View {
            uids,
            recent: state.recent.clone(),
            recent_told: 0,
            modseq: state.modseq,
            uid_next: state.uid_next,
            keywords: state.keywords as usize,
        };
        view.recent_told = view.recent_count();
        Ok(Self { name, mailbox, view, examine: state.examine })
    }
}

/// Both, in order; a UID in both is there once.
fn merged(live: impl Iterator<Item = u32>, gone: Ranges) -> Vec<u32> {
    let mut live = live.peekable();
    let mut uids = Vec::with_capacity(live.size_hint().0);
    for uid in gone.numbers() {
        while let Some(other) = live.next_if(|other| *other <= uid) {
            uids.push(other);
        }
        if uids.last() != Some(&uid) {
            uids.push(uid);
        }
    }
    uids.extend(live);
    uids
}

fn crc(uids: &[u32]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    uids.iter().for_each(|uid| hasher.update(&uid.to_le_bytes()));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_and_gone_are_merged_in_order() {
        let gone: Ranges = [1..=2, 5..=5, 9..=9].into_iter().collect();
        assert_eq!(merged([3, 4, 5, 10].into_iter(), gone), [1, 2, 3, 4, 5, 9, 10]);
        assert_eq!(merged([3].into_iter(), Ranges::default()), [3]);
    }
}
