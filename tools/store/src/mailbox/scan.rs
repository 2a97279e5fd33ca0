//! Reading the folders of a mailbox against its table: what is new, what differs, what has gone.
//!
//! Names are hashed and forgotten, so a scan of 200,000 files takes a few MiB, not their names.

use hashbrown::HashTable;

use crate::file_name::{self, Letters};
use crate::folder::{Folder, Place};
use crate::index::{Message, Table};
use crate::{Flags, StoreError};

/// What the files say and the table does not.
#[derive(Debug, Default)]
pub struct Findings {
    /// Ranges of UIDs without a file.
    pub gone: Vec<(u32, u32)>,
    pub differing: Vec<Differing>,
    /// In the order in which they shall get UIDs.
    pub arrivals: Vec<Arrival>,
    pub arrived_in: Vec<Place>,
}

/// A message whose file has other flags or letters, or lies elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Differing {
    /// Its place in the table.
    pub at: u32,
    pub flags: Flags,
    pub letters: Letters,
}

/// A file that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    order: u64,
    hash: u64,
}

impl Findings {
    /// The place of a file among the arrivals, if it is one.
    pub fn rank(&self, base: &[u8], hash: u64) -> Option<usize> {
        let wanted = Arrival { order: file_name::arrival_order(base), hash };
        self.arrivals.binary_search(&wanted).ok()
    }
}

pub struct Scan<'a> {
    folder: &'a Folder,
    table: &'a Table,
    by_hash: HashTable<u32>,
    /// `SEEN` and `SAME` for each message.
    marks: Vec<u8>,
    found: Findings,
}

impl Scan<'_> {
    /// Reads the given folders, and both once more where that leaves a doubt. A message that was
    /// not found is only gone if the second look does not find it either: a name that is changed
    /// while its folder is read may be passed over (POSIX readdir). A message that was found where
    /// it should not be may still be where it should, in the folder that was not read.
    pub fn of(folder: &Folder, table: &Table, places: &[Place]) -> Result<Findings, StoreError> {
        let mut by_hash = HashTable::with_capacity(table.messages.len());
        let hash_of = |at: &u32| table.messages[*at as usize].base_hash();
        for (at, message) in (0..).zip(&table.messages) {
            by_hash.insert_unique(message.base_hash(), at, hash_of);
        }
        let marks = vec![0; table.messages.len()];
        let mut scan = Scan { folder, table, by_hash, marks, found: Findings::default() };
        scan.look(places)?;
        let is_astray = |found: &Differing| {
            !places.contains(&Place::of(table.messages[found.at as usize].letters()))
        };
        let is_clear = scan.missing(places).next().is_none();
        if is_clear && !scan.found.differing.iter().any(is_astray) {
            return Ok(scan.finish(places));
        }
        scan.found = Findings::default();
        scan.marks.iter_mut().for_each(|mark| *mark &= SEEN);
        scan.look(&Place::BOTH)?;
        Ok(scan.finish(&Place::BOTH))
    }

    fn look(&mut self, places: &[Place]) -> Result<(), StoreError> {
        let folder = self.folder;
        places.iter().try_for_each(|&place| folder.walk(place, |name| self.note(place, name)))
    }

    fn note(&mut self, place: Place, name: &[u8]) -> Result<(), StoreError> {
        let (base, flags, letters) = file_name::parse(name, place == Place::New);
        if base.is_empty() {
            return Ok(());
        }
        if !file_name::is_regular(name) {
            // Its file could not be found by what the table knows, so it gets the name it should
            // have; unless another file has that already, which then is the message.
            let regular = file_name::compose(base, flags, letters);
            let _ = self.folder.rename_new((place, name), &regular);
        }
        let hash = self.table.hash(base);
        let messages = &self.table.messages;
        match self.by_hash.find(hash, |&at| messages[at as usize].base_hash() == hash) {
            Some(&at) => {
                let message = &messages[at as usize];
                self.marks[at as usize] |= SEEN;
                if message.flags & Flags::SYSTEM == flags && message.letters() == letters {
                    self.marks[at as usize] |= SAME;
                } else {
                    self.found.differing.push(Differing { at, flags, letters });
                }
            }
            None => {
                let order = file_name::arrival_order(base);
                self.found.arrivals.push(Arrival { order, hash });
                if self.found.arrived_in.last() != Some(&place) {
                    self.found.arrived_in.push(place);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, places: &[Place]) -> Findings {
        let mut gone: Vec<(u32, u32)> = Vec::new();
        let mut before = None;
        for at in self.missing(places) {
            let uid = self.table.messages[at].uid;
            match gone.last_mut() {
                Some((_, last)) if at > 0 && before == Some(at - 1) => *last = uid,
                _ => gone.push((uid, uid)),
            }
            before = Some(at);
        }
        // Where one base has two files the one that is known already is the message.
        let (marks, mut found) = (&self.marks, std::mem::take(&mut self.found));
        found.differing.retain(|differing| marks[differing.at as usize] & SAME == 0);
        found.differing.dedup_by_key(|differing| differing.at);
        found.arrivals.sort_unstable();
        found.arrivals.dedup();
        Findings { gone, ..found }
    }

    /// Messages that should be in one of the places, but were not seen.
    fn missing<'b>(&'b self, places: &'b [Place]) -> impl Iterator<Item = usize> + 'b {
        let was_looked_for = |message: &Message| places.contains(&Place::of(message.letters()));
        let messages = self.table.messages.iter().zip(&self.marks).enumerate();
        messages
            .filter(move |(_, (message, mark))| **mark & SEEN == 0 && was_looked_for(message))
            .map(|(at, _)| at)
    }
}

const SEEN: u8 = 1;
const SAME: u8 = 2;
