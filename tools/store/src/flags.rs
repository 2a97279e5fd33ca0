//! The flags of a message: system flags as Maildir letters, keywords by their number.

use std::ops::{BitAnd, BitOr, Not};

/// Bits 0 to 4 are the system flags; bit `8 + n` is keyword number n of the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u64);

impl Flags {
    pub const ANSWERED: Flags = Flags(1);
    pub const DELETED: Flags = Flags(1 << 1);
    pub const DRAFT: Flags = Flags(1 << 2);
    pub const FLAGGED: Flags = Flags(1 << 3);
    pub const SEEN: Flags = Flags(1 << 4);
    /// All that live in the name of the file.
    pub const SYSTEM: Flags = Flags(0x1f);
    pub const KEYWORDS_MAX: usize = 56;

    /// The flag of keyword number `keyword` (below `KEYWORDS_MAX`).
    pub fn of_keyword(keyword: u8) -> Flags {
        assert!(usize::from(keyword) < Flags::KEYWORDS_MAX);
        Flags(1 << (KEYWORD_SHIFT + u32::from(keyword)))
    }

    pub fn contains(self, all: Flags) -> bool {
        self & all == all
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers of the keywords that are set, ascending.
    pub fn keywords(self) -> impl Iterator<Item = u8> {
        (0..Flags::KEYWORDS_MAX as u8).filter(move |&n| self.contains(Flags::of_keyword(n)))
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Flags;

    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Flags;

    fn not(self) -> Flags {
        Flags(!self.0)
    }
}

/// What STORE does with the flags it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    Add,
    Remove,
    Replace,
}

impl FlagChange {
    pub(crate) fn applied(self, old: Flags, named: Flags) -> Flags {
        match self {
            FlagChange::Add => old | named,
            FlagChange::Remove => old & !named,
            FlagChange::Replace => named,
        }
    }
}

const KEYWORD_SHIFT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_begin_above_the_system_flags_and_fit() {
        assert!((Flags::of_keyword(0) & Flags::SYSTEM).is_empty());
        assert_eq!(Flags::of_keyword(55).0, 1 << 63);
        let flags = Flags::SEEN | Flags::of_keyword(3) | Flags::of_keyword(55);
        assert_eq!(flags.keywords().collect::<Vec<_>>(), [3, 55]);
    }

    #[test]
    fn a_change_adds_removes_or_replaces() {
        let (old, named) = (Flags::SEEN | Flags::DRAFT, Flags::SEEN | Flags::DELETED);
        assert_eq!(FlagChange::Add.applied(old, named), Flags(0b10110));
        assert_eq!(FlagChange::Remove.applied(old, named), Flags::DRAFT);
        assert_eq!(FlagChange::Replace.applied(old, named), named);
    }
}
