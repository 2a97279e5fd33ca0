//! The name of a message's file: `BASE:2,LETTERS`, in new/ mostly without the `:2,`.
//!
//! The base never changes while the message lives in its folder; the letters are its flags. The
//! index keeps the base, the flags and the few bits that tell apart the names that those two may
//! have (`Letters`), so that a file is found without reading its folder.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Flags;

/// What the name says besides base and flags. Bits 0 to 25 are the letters a to z, which other
/// programs use for keywords of their own; they are kept as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters(pub u32);

impl Letters {
    /// The letter P, "passed": kept for others too.
    pub const PASSED: u32 = 1 << 26;
    /// The name has no `:2,` at all.
    pub const BARE: u32 = 1 << 29;
    /// The file lies in new/, not in cur/.
    pub const IN_NEW: u32 = 1 << 31;

    pub fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// As the file is named once this program has named it: in cur/, with a `:2,`.
    pub fn settled(self) -> Letters {
        Letters(self.0 & !(Letters::BARE | Letters::IN_NEW))
    }
}

/// Base, flags and letters of a file's name. Letters in another order than they should have are
/// read all the same, though the name then cannot be composed again.
pub fn parse(name: &[u8], in_new: bool) -> (&[u8], Flags, Letters) {
    let mut letters = Letters(if in_new { Letters::IN_NEW } else { 0 });
    let Some(at) = name.windows(MARK.len()).rposition(|three| three == MARK) else {
        letters.0 |= Letters::BARE;
        return (name, Flags::default(), letters);
    };
    let mut flags = Flags::default();
    for &byte in &name[at + MARK.len()..] {
        match SYSTEM.iter().find(|(letter, _)| *letter == byte) {
            Some((_, flag)) => flags = flags | *flag,
            None if byte == b'P' => letters.0 |= Letters::PASSED,
            None if byte.is_ascii_lowercase() => letters.0 |= 1 << (byte - b'a'),
            None => {}
        }
    }
    (&name[..at], flags, letters)
}

/// True if composing what the name parses to gives the name again.
pub fn is_regular(name: &[u8]) -> bool {
    let Some(at) = name.windows(MARK.len()).rposition(|three| three == MARK) else { return true };
    let letters = &name[at + MARK.len()..];
    letters.is_sorted_by(|one, next| one < next)
        && letters.iter().all(|byte| byte.is_ascii_lowercase() || b"DFPRST".contains(byte))
}

/// The name with these flags; `parse` of it gives the same parts again.
pub fn compose(base: &[u8], flags: Flags, letters: Letters) -> Vec<u8> {
    let mut name = Vec::with_capacity(base.len() + MARK.len() + SYSTEM.len() + 27);
    name.extend_from_slice(base);
    if letters.has(Letters::BARE) {
        return name;
    }
    name.extend_from_slice(MARK);
    let system = SYSTEM.iter().filter(|(_, flag)| flags.contains(*flag)).map(|(letter, _)| *letter);
    name.extend(system);
    name.extend(letters.has(Letters::PASSED).then_some(b'P'));
    name[base.len() + MARK.len()..].sort_unstable();
    name.extend((b'a'..=b'z').filter(|letter| letters.has(1 << (letter - b'a'))));
    name
}

/// A base that no other file has, in the shape of the Maildir specification, with the size of the
/// file (`S`) and of the message as sent (`W`, every line with its CRLF) if they are known.
pub fn unique(sizes: Option<Sizes>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Process ids are unique only within one container, so chance is added.
    let chance = RandomState::new().hash_one(count) as u32;
    let (seconds, micros, pid) = (now.as_secs(), now.subsec_micros(), process::id());
    let mut base = format!("{seconds}.M{micros:06}P{pid}Q{count}R{chance:08x}.{}", *HOST);
    if let Some(Sizes { file, wire }) = sizes {
        write!(base, ",S={file},W={wire}").expect("a string takes everything");
    }
    base
}

/// Bytes of a message: of its file, and as it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub file: u64,
    pub wire: u64,
}

/// The sizes that a base tells, if it tells both.
pub fn sizes(base: &[u8]) -> Option<Sizes> {
    let field = |key: &str| {
        let text = std::str::from_utf8(base).ok()?;
        text.split(',').skip(1).find_map(|field| field.strip_prefix(key))?.parse().ok()
    };
    Some(Sizes { file: field("S=")?, wire: field("W=")? })
}

/// Orders new files by when they were delivered, as far as their names tell (`SECONDS.M…`), and
/// those that do not by their first letters, after the others.
pub fn arrival_order(base: &[u8]) -> u64 {
    let number = |digits: &[u8]| -> u64 {
        let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).take(11);
        digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    };
    if base.first().is_some_and(u8::is_ascii_digit) {
        let micros =
            base.iter().position(|byte| *byte == b'M').map_or(0, |at| number(&base[at + 1..]));
        return number(base) << 20 | micros.min((1 << 20) - 1);
    }
    let mut first = [0; 8];
    let length = base.len().min(8);
    first[..length].copy_from_slice(&base[..length]);
    u64::from_be_bytes(first)
}

/// Letters of the system flags, in the order of names.
const SYSTEM: [(u8, Flags); 5] = [
    (b'D', Flags::DRAFT),
    (b'F', Flags::FLAGGED),
    (b'R', Flags::ANSWERED),
    (b'S', Flags::SEEN),
    (b'T', Flags::DELETED),
];

const MARK: &[u8] = b":2,";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The host as it may stand in a file name.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let safe = |byte: char| byte.is_ascii_alphanumeric() || byte == '-' || byte == '.';
    host.to_string_lossy().chars().filter(|byte| safe(*byte)).take(HOST_BYTES_MAX).collect()
});

/// Bases stay well below the 255 bytes of a file name.
const HOST_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_composed_from_what_it_was_parsed_to() {
        for (name, in_new) in [
            ("1.M2P3.host,S=4,W=5:2,", false),
            ("1.host:2,DFPRSTabz", false),
            ("1.host:2,S", true),
            ("1.host", true),
            ("1.host", false),
            ("1.host:1,S", false),
            ("odd:2,S:2,T", false),
        ] {
            let (base, flags, letters) = parse(name.as_bytes(), in_new);
            assert_eq!(compose(base, flags, letters), name.as_bytes(), "{name}");
            assert_eq!(letters.has(Letters::IN_NEW), in_new);
        }
    }

    #[test]
    fn letters_out_of_order_are_read_all_the_same() {
        let (base, flags, letters) = parse(b"x:2,TS9Pb", false);
        assert_eq!((base, flags), (&b"x"[..], Flags::SEEN | Flags::DELETED));
        assert_eq!(letters, Letters(Letters::PASSED | 2));
    }

    #[test]
    fn bases_are_unique_and_tell_their_sizes() {
        let given = Sizes { file: 10, wire: 12 };
        let (one, two) = (unique(Some(given)), unique(Some(given)));
        assert_ne!(one, two);
        assert_eq!(sizes(one.as_bytes()), Some(given));
        assert_eq!(sizes(b"1.host,S=10"), None);
        assert!(one.len() < 200, "{one}");
    }

    #[test]
    fn files_arrive_in_the_order_of_their_names() {
        let bases = ["9.M1P1.host", "10.M5P1.host", "10.M000007P1.host", "11.x", "alpha", "beta"];
        let order = bases.map(|base| arrival_order(base.as_bytes()));
        assert!(order.is_sorted(), "{order:?}");
    }
}
