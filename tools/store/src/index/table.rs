//! The index in memory. It changes in one way only: by the frames that also went to the file, so
//! that what a writer believes is what every reader will read.

use std::hash::{BuildHasher, RandomState};

use zerocopy::{FromBytes, IntoBytes};

use super::gone::Gone;
use super::layout::{Arrived, Booted, Changed, Counters, Expunged, Kind, NAME_AT, Scanned};
use crate::Flags;
use crate::file_name::Letters;

/// One message as the index knows it.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub uid: u32,
    letters: Letters,
    pub flags: Flags,
    /// The modseq of its last change (RFC 7162).
    pub modseq: u64,
    base_hash: u64,
    /// Where the index file has the base of the file's name, behind one byte of its length.
    name_at: u32,
}

impl Message {
    pub(crate) fn letters(&self) -> Letters {
        Letters(self.letters.0 & !DEAD)
    }

    pub(crate) fn base_hash(&self) -> u64 {
        self.base_hash
    }

    pub(crate) fn name_at(&self) -> u32 {
        self.name_at
    }
}

#[derive(Debug)]
pub struct Table {
    /// By ascending UID once `settle` was called.
    pub messages: Vec<Message>,
    pub gone: Gone,
    pub keywords: Vec<String>,
    pub uid_next: u32,
    pub recent_next: u32,
    pub highest_modseq: u64,
    /// The mtimes under which the files were last taken in.
    pub scanned: Option<Scanned>,
    /// The boot of the machine under which the index was last opened.
    pub boot: Option<u128>,
    /// Keyed at random for each handle: nobody can make names that collide.
    hasher: RandomState,
    is_sorted: bool,
    has_dead: bool,
}

impl Table {
    pub fn new() -> Table {
        Table {
            messages: Vec::new(),
            gone: Gone::default(),
            keywords: Vec::new(),
            uid_next: 1,
            recent_next: 1,
            highest_modseq: 1,
            scanned: None,
            boot: None,
            hasher: RandomState::new(),
            is_sorted: true,
            has_dead: false,
        }
    }

    /// Empties the table for a file of about `messages`; keeps its memory, so that a reload
    /// does not need the space of two.
    pub fn clear(&mut self, messages: usize) {
        let (mut kept, mut gone) =
            (std::mem::take(&mut self.messages), std::mem::take(&mut self.gone));
        kept.clear();
        gone.clear();
        kept.reserve_exact(messages);
        *self = Table { messages: kept, gone, ..Table::new() };
    }

    pub fn hash(&self, base: &[u8]) -> u64 {
        self.hasher.hash_one(base)
    }

    pub fn position(&self, uid: u32) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }

    /// Takes in one frame whose payload lies at `at` in the file. The error says what a writer
    /// could not have written.
    pub fn apply(&mut self, kind: Kind, payload: &[u8], at: u64) -> Result<(), &'static str> {
        match kind {
            Kind::Arrived => self.arrived(payload, at),
            Kind::Changed => self.changed(entries(payload)?),
            Kind::Expunged => self.expunged(entries(payload)?),
            Kind::Keyword => self.keyword(payload),
            Kind::Counters => {
                let counters: Counters = one(payload)?;
                self.uid_next = self.uid_next.max(counters.uid_next.get());
                self.recent_next = self.recent_next.max(counters.recent_next.get());
                self.saw(counters.highest_modseq.get())
            }
            Kind::Scanned => {
                self.scanned = Some(one(payload)?);
                Ok(())
            }
            Kind::Booted => {
                let booted: Booted = one(payload)?;
                self.boot = Some(booted.id.get());
                Ok(())
            }
        }
    }

    /// Sorts and sweeps what the frames left behind; between frames only lookups by UID need it.
    pub fn settle(&mut self) -> Result<(), &'static str> {
        if std::mem::take(&mut self.has_dead) {
            self.messages.retain(|message| !message.letters.has(DEAD));
        }
        if !std::mem::replace(&mut self.is_sorted, true) {
            self.messages.sort_unstable_by_key(|message| message.uid);
            if self.messages.windows(2).any(|pair| pair[0].uid == pair[1].uid) {
                return Err("a UID twice");
            }
        }
        Ok(())
    }

    fn arrived(&mut self, mut payload: &[u8], at: u64) -> Result<(), &'static str> {
        let whole = payload.len();
        while !payload.is_empty() {
            let name_at = at + (whole - payload.len() + NAME_AT) as u64;
            let (entry, rest) = Arrived::read_from_prefix(payload).map_err(|_| BAD_ENTRY)?;
            let base = rest.get(..usize::from(entry.name_bytes)).ok_or(BAD_ENTRY)?;
            payload = &rest[base.len()..];
            let (uid, modseq) = (entry.state.uid.get(), entry.state.modseq.get());
            if uid == 0 || uid == u32::MAX || base.is_empty() {
                return Err(BAD_ENTRY);
            }
            self.is_sorted &= self.messages.last().is_none_or(|last| last.uid < uid);
            self.uid_next = self.uid_next.max(uid + 1);
            self.saw(modseq)?;
            self.reserve();
            self.messages.push(Message {
                uid,
                letters: Letters(entry.state.letters().0 & !DEAD),
                flags: entry.state.flags(),
                modseq,
                base_hash: self.hash(base),
                name_at: u32::try_from(name_at).map_err(|_| "too large")?,
            });
        }
        Ok(())
    }

    fn changed(&mut self, entries: &[Changed]) -> Result<(), &'static str> {
        self.sort()?;
        for entry in entries {
            self.saw(entry.modseq.get())?;
            let at = self.position(entry.uid.get()).ok_or("a change of an unknown UID")?;
            let message = &mut self.messages[at];
            (message.flags, message.modseq) = (entry.flags(), entry.modseq.get());
            message.letters.0 = entry.letters().0 & !DEAD | message.letters.0 & DEAD;
        }
        Ok(())
    }

    fn expunged(&mut self, entries: &[Expunged]) -> Result<(), &'static str> {
        self.sort()?;
        for entry in entries {
            let (first, last) = (entry.first.get(), entry.last.get());
            if first == 0 || last < first || last >= self.uid_next.max(1) {
                return Err(BAD_ENTRY);
            }
            let from = self.messages.partition_point(|message| message.uid < first);
            let dead = self.messages[from..].iter_mut().take_while(|message| message.uid <= last);
            dead.for_each(|message| message.letters.0 |= DEAD);
            self.has_dead = true;
            self.saw(entry.modseq.get())?;
            self.gone.push(*entry);
        }
        Ok(())
    }

    fn keyword(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let name = str::from_utf8(payload).map_err(|_| BAD_ENTRY)?;
        if name.is_empty() || self.keywords.len() == Flags::KEYWORDS_MAX {
            return Err(BAD_ENTRY);
        }
        self.keywords.push(name.to_owned());
        Ok(())
    }

    fn saw(&mut self, modseq: u64) -> Result<(), &'static str> {
        self.highest_modseq = self.highest_modseq.max(modseq);
        if modseq > MODSEQ_MAX { Err("a modseq") } else { Ok(()) }
    }

    fn sort(&mut self) -> Result<(), &'static str> {
        if self.is_sorted { Ok(()) } else { self.settle() }
    }

    /// Grows by an eighth instead of doubling: a large mailbox is what the memory is counted for.
    fn reserve(&mut self) {
        if self.messages.len() == self.messages.capacity() {
            self.messages.reserve_exact((self.messages.len() / 8).max(16));
        }
    }
}

fn entries<T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout + zerocopy::Unaligned>(
    payload: &[u8],
) -> Result<&[T], &'static str> {
    <[T]>::ref_from_bytes(payload).map_err(|_| BAD_ENTRY)
}

fn one<T: FromBytes + IntoBytes>(payload: &[u8]) -> Result<T, &'static str> {
    T::read_from_bytes(payload).map_err(|_| BAD_ENTRY)
}

/// True of a message between its expunge and the next `settle`.
const DEAD: u32 = 1 << 30;
/// RFC 7162 2.1.1: 63 bits.
const MODSEQ_MAX: u64 = i64::MAX as u64;
const BAD_ENTRY: &str = "an entry of a frame";
