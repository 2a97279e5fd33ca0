//! A table from watch numbers to whoever has them, that keeps neighbours together.
//!
//! inotify gives watch numbers one after the other, and those that live are close to each other. A
//! table that scatters them touches a page of memory for each; here 512 of them share one page,
//! half full. The numbers themselves lie with their owners, so a cell has four bytes.

/// The table. What it holds is the caller's: the owner of a number says which number it has.
pub struct Near {
    /// Owner plus one; 0: empty.
    cells: Vec<u32>,
    count: usize,
}

impl Near {
    /// Room for `max` numbers, at most half full. Zero pages until they are used.
    pub fn new(max: usize) -> Self {
        let cells = (2 * max).next_power_of_two().max(PAGE_CELLS);
        assert!(cells <= 1 << 31);
        Self { cells: vec![0; cells], count: 0 }
    }

    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True exactly when nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The owner of `number`.
    pub fn find(&self, number: i32, number_of: impl Fn(u32) -> i32) -> Option<u32> {
        self.cell(number, number_of).map(|at| self.cells[at] - 1)
    }

    /// Takes in a number that nobody has.
    pub fn insert(&mut self, number: i32, owner: u32) {
        assert!(number >= 0 && owner < u32::MAX);
        assert!(2 * self.count < self.cells.len(), "room was promised for more than the most");
        let mut at = self.home(number);
        while self.cells[at] != 0 {
            at = self.after(at);
        }
        self.cells[at] = owner + 1;
        self.count += 1;
    }

    /// Takes a number out. Those behind it move up, so that no marks are left behind.
    pub fn remove(&mut self, number: i32, number_of: impl Fn(u32) -> i32) -> Option<u32> {
        let mut hole = self.cell(number, &number_of)?;
        let owner = self.cells[hole] - 1;
        let mut at = self.after(hole);
        while self.cells[at] != 0 {
            let home = self.home(number_of(self.cells[at] - 1));
            if self.way(home, at) >= self.way(hole, at) {
                self.cells[hole] = self.cells[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.cells[hole] = 0;
        self.count -= 1;
        Some(owner)
    }

    fn cell(&self, number: i32, number_of: impl Fn(u32) -> i32) -> Option<usize> {
        let mut at = self.home(number);
        while self.cells[at] != 0 {
            if number_of(self.cells[at] - 1) == number {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    /// The page of its neighbours; there they are scattered, so that no long run forms.
    fn home(&self, number: i32) -> usize {
        let number = number as u32;
        let page = (number / PAGE_NUMBERS) as usize * PAGE_CELLS;
        page & (self.cells.len() - 1)
            | (number.wrapping_mul(ODD) >> (32 - PAGE_CELLS.ilog2())) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    /// Cells from one to another, onwards.
    fn way(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }
}

/// Cells of four bytes in a page of memory.
const PAGE_CELLS: usize = 1024;
/// So that a page is half full when all of its numbers live.
const PAGE_NUMBERS: u32 = 512;
/// The golden ratio: neighbours come to lie far from each other.
const ODD: u32 = 0x9E37_79B1;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Owners that have their numbers times three.
    const fn number_of(owner: u32) -> i32 {
        owner as i32 / 3
    }

    #[test]
    fn it_says_what_a_map_says_while_numbers_come_and_go() {
        let (mut table, mut model, mut seed) = (Near::new(2000), HashMap::new(), 7_u64);
        for step in 0..200_000_i32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            // Some stay for long, so that numbers far apart meet in one page.
            let number = step - (seed >> 40) as i32 % 3000;
            match number >= 0 && seed >> 33 & 3 > 0 && model.len() < 2000 {
                true if !model.contains_key(&number) => {
                    table.insert(number, number as u32 * 3);
                    model.insert(number, number as u32 * 3);
                }
                _ => assert_eq!(table.remove(number, number_of), model.remove(&number)),
            }
            assert_eq!(table.find(number, number_of), model.get(&number).copied());
            assert_eq!(table.len(), model.len());
        }
        for (number, owner) in model {
            assert_eq!(table.remove(number, number_of), Some(owner));
        }
        assert!(table.is_empty() && table.cells.iter().all(|cell| *cell == 0));
    }

    #[test]
    fn neighbours_share_a_page_and_make_no_long_runs() {
        let mut table = Near::new(100_000);
        (0..1024).for_each(|number| table.insert(number, number as u32 * 3));
        assert!(table.cells[2 * PAGE_CELLS..].iter().all(|cell| *cell == 0));
        let runs = table.cells[..2 * PAGE_CELLS].split(|cell| *cell == 0);
        let longest = runs.map(<[u32]>::len).max().expect("some");
        assert!(longest < 16, "{longest} in a row");
    }
}
