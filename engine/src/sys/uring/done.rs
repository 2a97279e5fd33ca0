//! What was done without the ring, and whose completions are still owed.

use crate::token::Token;

/// First in, first out. It begins at the front again whenever it is empty, so that the memory
/// reserved for the worst moment costs none before that moment comes.
pub struct Done {
    owed: Vec<(Token, i32)>,
    /// Of these, as many have been told.
    told: usize,
}

impl Done {
    /// Room for `max`.
    pub fn new(max: usize) -> Self {
        Self { owed: Vec::with_capacity(max), told: 0 }
    }

    pub fn push(&mut self, token: Token, result: i32) {
        self.owed.push((token, result));
    }

    /// The one that waits longest.
    pub fn pop(&mut self) -> Option<(Token, i32)> {
        let next = self.owed.get(self.told).copied();
        self.told += 1;
        if self.told >= self.owed.len() {
            self.owed.clear();
            self.told = 0;
        }
        next
    }

    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Kind;

    #[test]
    fn what_is_owed_comes_in_order_and_once() {
        let mut done = Done::new(4);
        let tokens = [1, 2, 3].map(|index| Token::new(Kind::Item, 1, index));
        assert_eq!((done.pop(), done.is_empty()), (None, true));
        tokens[..2].iter().for_each(|token| done.push(*token, 0));
        assert_eq!(done.pop(), Some((tokens[0], 0)));
        done.push(tokens[2], -5);
        assert!(!done.is_empty());
        assert_eq!([done.pop(), done.pop()], [Some((tokens[1], 0)), Some((tokens[2], -5))]);
        assert_eq!((done.pop(), done.is_empty(), done.owed.capacity()), (None, true, 4));
    }
}
