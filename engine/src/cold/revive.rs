//! The store of an engine that was killed, in the hands of its heir.
//!
//! What entries hold is trusted as far as their checksums go. What says which memory is free is
//! not: it is made anew from the entries that records name. So an entry is *claimed* once for its
//! record, whole or not at all, and whatever nobody has claimed is zeroed and free. Words of lines
//! that had not come in whole go the same way: their workers keep those clients.

use zerocopy::FromZeros as _;

use super::chain::{Block, Chains};
use super::lines::Lines;
use super::model::{Model, Models};
use super::shelf::{Shelf, address, bytes_of, places, split};
use super::{Cold, shelved};
use crate::record::NIL;

/// What has been claimed so far.
pub struct Claims {
    /// One for each block that was ever used.
    blocks: Vec<bool>,
    /// One for each place of each page that was ever used.
    places: Vec<[bool; PLACES_MAX]>,
    /// Lines stored by each model, and whether it can be used.
    users: Vec<u32>,
    whole: Vec<bool>,
}

impl Cold {
    /// Nothing is claimed yet, and nothing free.
    pub fn claims(&self) -> Claims {
        let models = &self.lines.models;
        Claims {
            blocks: vec![false; self.chains.fresh() as usize],
            places: vec![[false; PLACES_MAX]; self.lines.shelf.fresh()],
            users: vec![0; models.fresh()],
            whole: (0..models.fresh()).map(|id| models.is_whole(id)).collect(),
        }
    }

    /// Claims all that an entry has. `false`, and nothing is, when any of it is damaged or
    /// somebody else's.
    #[must_use]
    pub fn claim(&mut self, entry: u32, claims: &mut Claims) -> bool {
        let Some(place) = shelved(entry) else {
            return self.chains.claim(entry, &mut claims.blocks);
        };
        let (page, number) = split(place);
        let (page, number) = (page as usize, usize::from(number));
        let Some(model) = self.lines.model_of(place) else { return false };
        let is_whole = claims.whole.get(usize::from(model)).is_some_and(|whole| *whole);
        if claims.places[page][number] || !is_whole {
            return false;
        }
        let side = self.lines.side(place).ok().flatten();
        if side.is_some_and(|chain| !self.chains.claim(chain, &mut claims.blocks)) {
            return false;
        }
        claims.places[page][number] = true;
        claims.users[usize::from(model)] += 1;
        true
    }

    /// Everything that nobody has claimed is zeroed and free.
    pub fn free_the_rest(&mut self, claims: &Claims) {
        self.chains.free_the_rest(&claims.blocks);
        self.lines.shelf.free_the_rest(&claims.places);
        self.lines.models.free_the_rest(&claims.users);
    }
}

impl Chains {
    /// Claims a chain and that of its output.
    fn claim(&mut self, chain: u32, claimed: &mut [bool]) -> bool {
        let (mut next, mut found) = (chain, Vec::new());
        while next != NIL && self.is_sound(next) {
            let mut block = next;
            while block != NIL && !core::mem::replace(&mut claimed[block as usize], true) {
                found.push(block);
                block = self.block(block).next;
            }
            if block != NIL {
                break;
            }
            next = self.output(next);
        }
        if next != NIL {
            found.into_iter().for_each(|block| claimed[block as usize] = false);
            return false;
        }
        self.used += found.len() as u32;
        true
    }

    fn free_the_rest(&mut self, claimed: &[bool]) {
        assert_eq!(self.free, NIL, "nothing is free yet");
        for block in (0..self.fresh()).rev().filter(|block| !claimed[*block as usize]) {
            let mut zeroed = Block::new_zeroed();
            zeroed.next = self.free;
            *self.block_mut(block) = zeroed;
            self.free = block;
        }
    }
}

impl Lines {
    /// The model of a sound line; `None` when the place is none, or damaged.
    fn model_of(&self, place: u32) -> Option<u8> {
        let (page, number) = split(place);
        let page_count = self.shelf.fresh();
        let size = ((page as usize) < page_count).then(|| self.shelf.size(page)).flatten()?;
        (usize::from(number) < places(size)).then(|| self.model_in(place)).flatten()
    }
}

impl Shelf {
    /// The pages as their sizes say, all places taken; [`Shelf::free_the_rest`] corrects that.
    pub(super) fn revive(&mut self) {
        for page in 0..self.fresh() as u32 {
            let mut entry = super::shelf::Page::default();
            if let Some(size) = self.size(page) {
                entry.size = size as u8;
                (entry.used, entry.fresh) = (places(size) as u16, places(size) as u16);
                self.used_bytes += (places(size) * bytes_of(size)) as u64;
            }
            self.pages.push(entry);
        }
    }

    fn free_the_rest(&mut self, claimed: &[[bool; PLACES_MAX]]) {
        for page in (0..self.pages.len() as u32).rev() {
            let claimed = &claimed[page as usize];
            let Some(size) = self.size(page) else {
                self.put_in_stock(page);
                continue;
            };
            let free = (0..places(size) as u16).rev().filter(|place| !claimed[usize::from(*place)]);
            for place in free {
                let entry = &mut self.pages[page as usize];
                let next = core::mem::replace(&mut entry.free, place + 1);
                entry.used -= 1;
                let bytes = self.image.edit(address(page, place, size), bytes_of(size));
                bytes.fill(0);
                bytes[..2].copy_from_slice(&next.to_le_bytes());
                self.used_bytes -= bytes_of(size) as u64;
            }
            match usize::from(self.pages[page as usize].used) {
                0 => self.put_in_stock(page),
                used if used < places(size) => self.link(page),
                _ => {}
            }
        }
    }
}

impl Models {
    /// True when a line can be made by it, whatever the line.
    fn is_whole(&self, id: usize) -> bool {
        let Some(Model { line, holes }) = self.get(id as u8) else { return false };
        holes.iter().enumerate().all(|(index, hole)| hole.is_within(index, line.len()))
    }

    fn free_the_rest(&mut self, users: &[u32]) {
        for (id, users) in users.iter().enumerate() {
            match users {
                0 => self.clear(id),
                users => self.entry_mut(id).users = *users,
            }
        }
    }
}

/// Places of the smallest size in a page.
const PLACES_MAX: usize = super::shelf::PAGE_BYTES / bytes_of(0);
