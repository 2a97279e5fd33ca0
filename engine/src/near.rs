//! A table from watch numbers to whoever has them, as large as the most of them at once ask for.
//!
//! inotify never gives a watch number twice, so a table in which numbers find their places by order
//! would be walked through from end to end as mailboxes come and go, and cost all that is reserved
//! in the end. Here they are scattered over the front of it, and that doubles when it is half full.
//! The numbers themselves lie with their owners, so a cell has four bytes.

/// The table. What it holds is the caller's: the owner of a number says which number it has.
pub struct Near {
    /// Owner plus one; 0: empty.
    cells: Vec<u32>,
    /// So many from the front are used, a power of two.
    used: usize,
    count: usize,
}

impl Near {
    /// Room for `max` numbers, at most half full. Zero pages until they are used.
    pub fn new(max: usize) -> Self {
        let cells = (2 * max).next_power_of_two().max(PAGE_CELLS);
        assert!(cells <= 1 << 31);
        Self { cells: vec![0; cells], used: PAGE_CELLS, count: 0 }
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

    /// Takes in a number that nobody has. One that doubles what is used costs as much as taking in
    /// everybody anew: 10 to 20 ns each.
    pub fn insert(&mut self, number: i32, owner: u32, number_of: impl Fn(u32) -> i32) {
        assert!(number >= 0 && owner + 1 < UNMOVED);
        assert!(2 * self.count < self.cells.len(), "room was promised for more than the most");
        if 2 * self.count >= self.used {
            self.double(number_of);
        }
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

    /// Twice as many cells are used. Everybody is marked and then taken to his new home; whoever is
    /// met there with his mark goes on in turn. So nobody is ever looked for behind a cell that
    /// becomes empty later, and no other memory is needed.
    fn double(&mut self, number_of: impl Fn(u32) -> i32) {
        let before = self.used;
        self.used *= 2;
        assert!(self.used <= self.cells.len());
        self.cells[..before]
            .iter_mut()
            .filter(|cell| **cell != 0)
            .for_each(|cell| *cell |= UNMOVED);
        for at in 0..before {
            if self.cells[at] & UNMOVED == 0 {
                continue;
            }
            let mut moved = std::mem::take(&mut self.cells[at]) ^ UNMOVED;
            while moved != 0 {
                let mut at = self.home(number_of(moved - 1));
                while self.cells[at] != 0 && self.cells[at] & UNMOVED == 0 {
                    at = self.after(at);
                }
                moved = std::mem::replace(&mut self.cells[at], moved) & !UNMOVED;
            }
        }
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

    /// Neighbours come to lie far from each other, so that no long run forms.
    fn home(&self, number: i32) -> usize {
        ((number as u32).wrapping_mul(ODD) >> (32 - self.used.ilog2())) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.used - 1)
    }

    /// Cells from one to another, onwards.
    fn way(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.used - 1)
    }
}

/// Cells of four bytes in a page of memory.
const PAGE_CELLS: usize = 1024;
/// Of a cell: its owner has not moved yet. More owners than that there are not.
const UNMOVED: u32 = 1 << 31;
/// The golden ratio.
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
        let (mut table, mut model, mut seed) = (Near::new(9000), HashMap::new(), 7_u64);
        for step in 0..200_000_i32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            // Some stay for long, so that numbers far apart meet in one page.
            let number = step - (seed >> 40) as i32 % 12_000;
            match number >= 0 && seed >> 33 & 3 > 0 && model.len() < 9000 {
                true if !model.contains_key(&number) => {
                    table.insert(number, number as u32 * 3, number_of);
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

    /// A thousand live at once and a million come and go: as much is used as a thousand need.
    #[test]
    fn numbers_that_rise_for_ever_use_no_more_memory_and_make_no_long_runs() {
        let mut table = Near::new(100_000);
        for number in 0..1_000_000 {
            table.insert(number, number as u32, |owner| owner as i32);
            let old = number - 1000;
            if old >= 0 {
                assert_eq!(table.remove(old, |owner| owner as i32), Some(old as u32));
            }
        }
        assert_eq!((table.len(), table.used), (1000, 2 * PAGE_CELLS));
        assert!(table.cells[table.used..].iter().all(|cell| *cell == 0));
        let runs = table.cells[..table.used].split(|cell| *cell == 0);
        let longest = runs.map(<[u32]>::len).max().expect("some");
        assert!(longest < 16, "{longest} in a row");
    }
}
