//! Places of many sizes that lie close together: each page is cut into places of one size.
//!
//! Pages go back into the common stock when their last place is given back, so a shelf that has
//! been full of one size can be filled with another. Places are zeroed when they are given back.
//! Behind the pages lies the size of each, which an heir needs to find the places.

use crate::image::Image;
use crate::record::NIL;

/// The shelf. Places are named by page and number, never by address.
pub struct Shelf {
    pub(super) image: Image,
    /// Those that were ever used, within what is reserved.
    pub(super) pages: Vec<Page>,
    /// First page of each size that has a free place.
    open: [u32; SIZES],
    /// First page of the stock: those that were in use and are not any more.
    pub(super) stock: u32,
    pub(super) used_bytes: u64,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Page {
    pub size: u8,
    /// Places in use.
    pub used: u16,
    /// First free place plus one, linked through the places; 0: none.
    pub free: u16,
    /// Places from here on have never been used.
    pub fresh: u16,
    /// Neighbours among the open pages of this size, plus one; `next` links the stock as well.
    pub next: u32,
    prev: u32,
}

impl Shelf {
    /// Bytes of an image for so many pages.
    pub fn bytes(pages: usize) -> usize {
        pages * PAGE_BYTES + pages
    }

    /// A shelf of as many pages as `image` holds, if that is not more than a handle can name.
    pub fn new(image: Image) -> Self {
        let count = image.len() / (PAGE_BYTES + 1);
        assert!(count <= PAGES_MAX as usize);
        let pages = Vec::with_capacity(count);
        Self { image, pages, open: [0; SIZES], stock: 0, used_bytes: 0 }
    }

    /// A zeroed place of at least `bytes`; `None` when it would be too large or no page is left.
    pub fn claim(&mut self, bytes: usize) -> Option<u32> {
        let size = size_for(bytes)?;
        let page = match self.open[size] {
            0 => self.open_page(size)?,
            page => page - 1,
        };
        let entry = &mut self.pages[page as usize];
        let place = if entry.free > 0 { entry.free - 1 } else { entry.fresh };
        let at = address(page, place, size);
        if entry.free > 0 {
            entry.free = u16::from_le_bytes([self.image[at], self.image[at + 1]]);
            self.image.edit(at, 2).fill(0);
        } else {
            entry.fresh += 1;
        }
        entry.used += 1;
        if usize::from(entry.used) == places(size) {
            self.unlink(page);
        }
        self.used_bytes += bytes_of(size) as u64;
        Some(page << PLACE_BITS | u32::from(place))
    }

    /// Gives a place back, zeroed.
    pub fn release(&mut self, handle: u32) {
        let (page, place) = split(handle);
        let entry = &mut self.pages[page as usize];
        let size = usize::from(entry.size);
        assert!(entry.used > 0 && place < entry.fresh, "a place that nobody has");
        let at = address(page, place, size);
        let bytes = self.image.edit(at, bytes_of(size));
        bytes.fill(0);
        bytes[..2].copy_from_slice(&entry.free.to_le_bytes());
        entry.free = place + 1;
        entry.used -= 1;
        let used = usize::from(entry.used);
        if used + 1 == places(size) {
            self.link(page);
        }
        if used == 0 {
            self.unlink(page);
            self.put_in_stock(page);
        }
        self.used_bytes -= bytes_of(size) as u64;
    }

    /// A page without a place in use is zeroed, and may be of any size again.
    pub(super) fn put_in_stock(&mut self, page: u32) {
        self.image.edit(page as usize * PAGE_BYTES, PAGE_BYTES).fill(0);
        self.set_size(page, None);
        self.pages[page as usize] = Page { next: self.stock, ..Page::default() };
        self.stock = page + 1;
    }

    /// The whole of a place, zeros behind what was written included.
    pub fn place(&self, handle: u32) -> &[u8] {
        let (at, bytes) = self.find(handle);
        &self.image[at..at + bytes]
    }

    pub fn place_mut(&mut self, handle: u32) -> &mut [u8] {
        let (at, bytes) = self.find(handle);
        self.image.edit(at, bytes)
    }

    /// Bytes of the places in use.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    fn find(&self, handle: u32) -> (usize, usize) {
        let (page, place) = split(handle);
        let entry = &self.pages[page as usize];
        assert!(place < entry.fresh, "a place that nobody has");
        let size = usize::from(entry.size);
        (address(page, place, size), bytes_of(size))
    }

    fn open_page(&mut self, size: usize) -> Option<u32> {
        let page = match self.stock {
            0 if self.pages.len() < self.count() => {
                self.pages.push(Page::default());
                self.image.set_word(FRESH, self.pages.len() as u64);
                self.pages.len() as u32 - 1
            }
            0 => return None,
            page => page - 1,
        };
        if self.stock == page + 1 {
            self.stock = self.pages[page as usize].next;
        }
        self.pages[page as usize] = Page { size: size as u8, ..Page::default() };
        self.set_size(page, Some(size));
        self.link(page);
        Some(page)
    }

    /// Pages that there is room for.
    fn count(&self) -> usize {
        self.image.len() / (PAGE_BYTES + 1)
    }

    /// Pages that were ever used.
    pub(super) fn fresh(&self) -> usize {
        (self.image.word(FRESH) as usize).min(self.count())
    }

    /// The size that a page was cut to; `None`: it is in stock.
    pub(super) fn size(&self, page: u32) -> Option<usize> {
        let code = usize::from(self.image[self.count() * PAGE_BYTES + page as usize]);
        code.checked_sub(1).filter(|size| *size < SIZES)
    }

    fn set_size(&mut self, page: u32, size: Option<usize>) {
        let at = self.count() * PAGE_BYTES + page as usize;
        self.image.edit(at, 1)[0] = size.map_or(0, |size| size as u8 + 1);
    }

    pub(super) fn link(&mut self, page: u32) {
        let size = usize::from(self.pages[page as usize].size);
        let next = std::mem::replace(&mut self.open[size], page + 1);
        if next > 0 {
            self.pages[next as usize - 1].prev = page + 1;
        }
        (self.pages[page as usize].next, self.pages[page as usize].prev) = (next, 0);
    }

    fn unlink(&mut self, page: u32) {
        let Page { size, next, prev, .. } = self.pages[page as usize];
        match prev {
            0 => self.open[usize::from(size)] = next,
            prev => self.pages[prev as usize - 1].next = next,
        }
        if next > 0 {
            self.pages[next as usize - 1].prev = prev;
        }
    }
}

/// Bytes of the largest place.
pub const PLACE_BYTES_MAX: usize = bytes_of(SIZES - 1);
/// What a shelf is made of.
pub const PAGE_BYTES: usize = 4096;
/// So that no handle is [`NIL`] and its upper bit is left to the caller.
pub const PAGES_MAX: u32 = (1 << (31 - PLACE_BITS)) - 1;

pub(super) const fn bytes_of(size: usize) -> usize {
    STEP_BYTES * (size + 2)
}

fn size_for(bytes: usize) -> Option<usize> {
    Some(bytes.div_ceil(STEP_BYTES).saturating_sub(2)).filter(|size| *size < SIZES)
}

pub(super) fn places(size: usize) -> usize {
    PAGE_BYTES / bytes_of(size)
}

pub(super) fn split(handle: u32) -> (u32, u16) {
    assert_ne!(handle, NIL);
    (handle >> PLACE_BITS, (handle & ((1 << PLACE_BITS) - 1)) as u16)
}

pub(super) fn address(page: u32, place: u16, size: usize) -> usize {
    page as usize * PAGE_BYTES + usize::from(place) * bytes_of(size)
}

/// Sizes differ by this much; half of it is lost on average.
const STEP_BYTES: usize = 8;
const SIZES: usize = 63;
const PLACE_BITS: u32 = 8;
/// Which of the image's words it is.
const FRESH: usize = 0;

const _: () = assert!(PLACE_BYTES_MAX == 512);
const _: () = assert!(PAGE_BYTES / bytes_of(0) <= 1 << PLACE_BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Kind;
    use crate::sys::map::Map;

    fn shelf(pages: usize) -> Shelf {
        let map = Map::memory("test", Image::map_bytes(Shelf::bytes(pages))).expect("memory");
        Shelf::new(Image::new(Kind::Shelf, map))
    }

    /// Thousands of places of all sizes come and go in no order; each keeps its bytes, and at the
    /// end every page is in stock again, zeroed.
    #[test]
    fn places_keep_their_bytes_and_pages_come_back() {
        let (mut shelf, mut held, mut seed) = (shelf(64), Vec::new(), 1_u64);
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let (word, bytes) = ((seed >> 33) as usize, 1 + (seed >> 40) as usize % 512);
            if word % 5 < 3 {
                let Some(handle) = shelf.claim(bytes) else { continue };
                let place = shelf.place_mut(handle);
                assert!(place.len() >= bytes && place.iter().all(|byte| *byte == 0));
                place.fill(step as u8 | 1);
                held.push((handle, step as u8 | 1));
            } else if !held.is_empty() {
                let (handle, mark) = held.swap_remove(word % held.len());
                assert!(shelf.place(handle).iter().all(|byte| *byte == mark));
                shelf.release(handle);
            }
        }
        for (handle, _) in held {
            shelf.release(handle);
        }
        assert_eq!(shelf.used_bytes(), 0);
        assert!(shelf.image.iter().all(|byte| *byte == 0));
        let all: Vec<u32> = (0..64 * 8).map(|_| shelf.claim(512).expect("a page")).collect();
        assert!(shelf.claim(16).is_none(), "full of the largest");
        shelf.release(all[0]);
        assert!(shelf.claim(16).is_none(), "a page is of one size");
        all[1..8].iter().for_each(|handle| shelf.release(*handle));
        assert!(shelf.claim(16).is_some(), "until it is empty");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut shelf = shelf(1);
        assert!(shelf.claim(PLACE_BYTES_MAX + 1).is_none());
        let handle = shelf.claim(0).expect("the smallest");
        assert_eq!(shelf.place(handle).len(), 16);
    }
}
