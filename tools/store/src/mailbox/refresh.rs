//! Taking in what others did: handles by the index, other programs by the files.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::stat::fstat;

use super::Mailbox;
use super::scan::{Findings, Scan};
use crate::StoreError;
use crate::boot::UNSYNCED_UIDS_MAX;
use crate::folder::Place;
use crate::index::{Batch, Reach, Scanned};

/// When new/ and cur/ last got or lost a name, in ns since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    pub(super) new_ns: i64,
    pub(super) cur_ns: i64,
}

impl Stamps {
    fn of(self, place: Place) -> i64 {
        match place {
            Place::New => self.new_ns,
            Place::Cur => self.cur_ns,
        }
    }

    /// True if whatever happens to the folders from `now_ns` on will give them other stamps.
    fn are_settled(self, now_ns: i64) -> bool {
        [self.new_ns, self.cur_ns].into_iter().all(|stamp_ns| {
            // A file system that shows no fractions may keep whole seconds, or two of them.
            let whole = stamp_ns % 1_000_000_000 == 0;
            stamp_ns + if whole { COARSE_TICK_NS } else { TICK_NS } < now_ns
        })
    }
}

impl From<Scanned> for Stamps {
    fn from(scanned: Scanned) -> Stamps {
        Stamps { new_ns: scanned.new_ns.get(), cur_ns: scanned.cur_ns.get() }
    }
}

impl Mailbox {
    /// Takes in what the files and other handles say; a few stats when nothing changed.
    /// `NotFound` if the mailbox was deleted, `Damaged` if it was begun anew: either way this
    /// handle has no mailbox any more.
    pub fn refresh(&mut self) -> Result<(), StoreError> {
        self.folder.check()?;
        if self.unknown_places(self.stamps()?).next().is_some() {
            let _lock = self.folder.lock()?;
            self.index.catch_up(&self.folder)?;
            return self.take_in();
        }
        if self.index.is_behind(&self.folder)? {
            let _lock = self.folder.lock_shared()?;
            self.index.catch_up(&self.folder)?;
        }
        Ok(())
    }

    /// Reads the folders that may have changed and writes what is new to the index. The caller
    /// holds the lock and has caught up.
    pub(super) fn take_in(&mut self) -> Result<(), StoreError> {
        let now_ns = now_ns();
        let stamps = self.stamps()?;
        let places: Vec<Place> = self.unknown_places(stamps).collect();
        if places.is_empty() {
            return Ok(());
        }
        let findings = Scan::of(&self.folder, &self.index.table, &places)?;
        let mut batch = Batch::default();
        let (from, modseq) = (self.uid_next(), self.highest_modseq() + 1);
        for (first, last) in &findings.gone {
            batch.expunged(*first, *last, modseq);
        }
        for found in &findings.differing {
            let message = &self.messages()[found.at as usize];
            let flags = message.flags & !crate::Flags::SYSTEM | found.flags;
            // A file that only moved from new/ to cur/ is the same message to every client.
            let modseq = if flags == message.flags { message.modseq } else { modseq };
            batch.changed(message.uid, modseq, flags, found.letters);
        }
        let taken_in = self.take_in_arrivals(&findings, modseq, &mut batch);
        // What was written before a failure holds, and has to be in order.
        self.index.settle()?;
        taken_in?;
        let is_settled = stamps.are_settled(now_ns);
        if is_settled && self.index.table.scanned.map(Stamps::from) != Some(stamps) {
            let (new_ns, cur_ns) = (stamps.new_ns.into(), stamps.cur_ns.into());
            batch.scanned(Scanned { new_ns, cur_ns });
        }
        let to = from + findings.arrivals.len() as u32;
        let is_due = from / UNSYNCED_UIDS_MAX != to / UNSYNCED_UIDS_MAX;
        let reach = if is_due { Reach::Disk } else { Reach::Cache };
        self.index.commit(&self.folder, &mut batch, reach)?;
        self.settled = is_settled.then_some(stamps);
        Ok(())
    }

    /// Gives UIDs to new files in the order of their delivery. Their names are read once more
    /// instead of being kept: an import of a large folder must not cost its memory.
    fn take_in_arrivals(
        &mut self,
        findings: &Findings,
        modseq: u64,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let count = findings.arrivals.len() as u64;
        let from = self.uid_next();
        if count > 0 && u64::from(from) + count >= u64::from(u32::MAX) {
            return Err(StoreError::TooMany { what: "messages since the mailbox was made" });
        }
        let mut taken = vec![false; findings.arrivals.len()];
        for &place in &findings.arrived_in {
            let index = &mut self.index;
            self.folder.walk(place, |name| {
                let (base, flags, letters) = crate::file_name::parse(name, place == Place::New);
                let Some(rank) = findings.rank(base, index.table.hash(base)) else {
                    return Ok(());
                };
                if std::mem::replace(&mut taken[rank], true) {
                    return Ok(());
                }
                batch.arrived(from + rank as u32, modseq, (base, flags, letters));
                if batch.len() > BATCH_BYTES {
                    index.write(batch, Reach::Cache)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The folders whose stamps are not those of a look at their files.
    fn unknown_places(&self, stamps: Stamps) -> impl Iterator<Item = Place> + use<> {
        let known = [self.settled, self.index.table.scanned.map(Stamps::from)];
        Place::BOTH.into_iter().filter(move |place| {
            known.iter().flatten().all(|known| known.of(*place) != stamps.of(*place))
        })
    }

    fn stamps(&self) -> Result<Stamps, StoreError> {
        let stamp_ns = |place| {
            let stat = fstat(self.folder.place(place));
            let stat = stat.map_err(StoreError::io("stat of a mailbox"))?;
            Ok(stat.st_mtime * 1_000_000_000 + stat.st_mtime_nsec)
        };
        Ok(Stamps { new_ns: stamp_ns(Place::New)?, cur_ns: stamp_ns(Place::Cur)? })
    }
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64
}

/// Kernels stamp files with the time of their last tick: 10 ms ago at most, tripled.
const TICK_NS: i64 = 30_000_000;
const COARSE_TICK_NS: i64 = 3_000_000_000;
/// What an import writes at once.
const BATCH_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A change within the tick of the last one would give the folder the same mtime again.
    #[test]
    fn a_stamp_of_this_tick_may_hide_another_change() {
        let at = 1_700_000_000_123_456_789;
        let stamps = Stamps { new_ns: at - 5_000_000_000, cur_ns: at };
        assert!(!stamps.are_settled(at + 10_000_000));
        assert!(stamps.are_settled(at + TICK_NS + 1));
        let whole = Stamps { new_ns: 1_700_000_000_000_000_000, cur_ns: 5 };
        assert!(!whole.are_settled(whole.new_ns + 2_000_000_000));
        assert!(whole.are_settled(whole.new_ns + COARSE_TICK_NS + 1));
        assert!(!stamps.are_settled(at - 1), "a clock that was set back tells nothing");
    }
}
