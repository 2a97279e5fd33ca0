//! Which bytes of a hibernate line are likely to differ from one client to the next.
//!
//! A line is cut into *holes*, its values, and the text between them. Lines with the same text
//! between the same kinds of holes have the same *shape*: all clients of one server have a few.
//!
//! ```text
//! user TAB prefix TAB lip= 127.0.0.1 TAB rport= 33264 TAB userdb_fields=uid= 5000 SOH t home= /m/u
//! ────     ──────          ─────────            ─────                        ────           ────
//! ```

use memchr::{memchr, memchr_iter};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::kind::Kind;

/// A value, by its place in the line.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hole {
    kind: u8,
    /// The earlier hole that holds the same fact, or [`NONE`].
    pub twin: u8,
    /// Where its key begins; the `=` lies between. The two words at the front have none.
    key: u16,
    pub at: u16,
    pub end: u16,
}

impl Hole {
    pub fn kind(&self) -> Kind {
        Kind::from_code(self.kind)
    }

    /// Its value in the line that it was found in.
    pub fn of(self, line: &[u8]) -> &[u8] {
        &line[usize::from(self.at)..usize::from(self.end)]
    }

    /// True exactly when it is one of a line of so many bytes, with `index` holes before it.
    pub fn is_within(self, index: usize, bytes: usize) -> bool {
        let twin = self.twin == NONE || usize::from(self.twin) < index;
        twin && self.key <= self.at && self.at <= self.end && usize::from(self.end) <= bytes
    }

    /// Its key; empty for the words at the front.
    pub fn key(self, line: &[u8]) -> &[u8] {
        &line[usize::from(self.key)..usize::from(self.at).saturating_sub(1).max(self.key.into())]
    }
}

/// Finds the holes of a line; `None` when it has too many, or too many bytes. Every line has a
/// shape, whether it can be parsed or not.
pub fn holes(line: &[u8], found: &mut Vec<Hole>) -> Option<u64> {
    found.clear();
    if line.len() > super::LINE_BYTES_MAX {
        return None;
    }
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut at = 0;
    for index in 0.. {
        let end = memchr(b'\t', &text[at..]).map_or(text.len(), |next| at + next);
        let field = &text[at..end];
        match index {
            0 | 1 => add(found, Kind::Text, [at, at, end])?,
            _ if field.starts_with(b"stats=") => parts(line, at + 6, end, b" ", found)?,
            _ if field.starts_with(USERDB) => parts(line, at + USERDB.len(), end, b"\x01t", found)?,
            _ => pair(line, at, end, found)?,
        }
        if end == text.len() {
            break;
        }
        at = end + 1;
    }
    assert!(found.len() <= HOLES_MAX);
    Some(hash(line, found))
}

/// True exactly when two lines with these holes have the same shape.
pub fn is_alike(line: &[u8], holes: &[Hole], other: &[u8], others: &[Hole]) -> bool {
    holes.len() == others.len()
        && (0..=holes.len())
            .all(|index| between(line, holes, index) == between(other, others, index))
        && holes.iter().zip(others).all(|(hole, other)| class(hole) == class(other))
}

/// The text before hole `index`; behind the last hole, the rest.
pub fn between<'a>(line: &'a [u8], holes: &[Hole], index: usize) -> &'a [u8] {
    let from = if index == 0 { 0 } else { usize::from(holes[index - 1].end) };
    let to = holes.get(index).map_or(line.len(), |hole| usize::from(hole.at));
    &line[from..to]
}

/// Names each hole's twin: the last one before it that holds the same fact.
pub fn pair_up(line: &[u8], holes: &mut [Hole]) {
    for index in 0..holes.len() {
        let hole = holes[index];
        let key = hole.key(line);
        let same = SAME.iter().find(|(name, _)| *name == key).map_or(key, |(_, fact)| *fact);
        let is_twin = |other: &Hole| other.key(line) == same && class(other) == class(&hole);
        let twin = holes[..index].iter().rposition(is_twin).filter(|_| !key.is_empty());
        holes[index].twin = twin.map_or(NONE, |twin| twin as u8);
    }
}

/// `key=value`s with something between them.
fn parts(line: &[u8], at: usize, end: usize, apart: &[u8], found: &mut Vec<Hole>) -> Option<()> {
    let mut at = at;
    loop {
        let mut nexts = memchr_iter(apart[0], &line[at..end]).map(|next| at + next);
        let stop = nexts.find(|next| line[*next..end].starts_with(apart)).unwrap_or(end);
        pair(line, at, stop, found)?;
        if stop == end {
            return Some(());
        }
        at = stop + apart.len();
    }
}

/// `key=value`, or a flag, which has no hole.
fn pair(line: &[u8], at: usize, end: usize, found: &mut Vec<Hole>) -> Option<()> {
    let equals = line[at..end].iter().position(|byte| *byte == b'=');
    let Some(equals) = equals else { return Some(()) };
    let from = at + equals + 1;
    add(found, Kind::of(&line[from..end]), [at, from, end])
}

fn add(found: &mut Vec<Hole>, kind: Kind, place: [usize; 3]) -> Option<()> {
    assert!(found.capacity() >= HOLES_MAX, "reserved at start");
    let [key, at, end] = place.map(|at| u16::try_from(at).ok());
    let hole = Hole { kind: kind as u8, twin: NONE, key: key?, at: at?, end: end? };
    (found.len() < HOLES_MAX).then(|| found.push(hole))
}

/// Digits of a hash are as many in every line; so their count is of the shape.
fn class(hole: &Hole) -> (u8, u16) {
    (hole.kind, if hole.kind() == Kind::Hex { hole.end - hole.at } else { 0 })
}

/// Tells shapes apart, nearly always; who is alike is looked at besides.
fn hash(line: &[u8], holes: &[Hole]) -> u64 {
    let mut hash = 0;
    for index in 0..=holes.len() {
        let (words, rest) = between(line, holes, index).as_chunks::<8>();
        hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        hash = rest.iter().fold(hash, |hash, byte| mix(hash, (*byte).into()));
        let (kind, count) = holes.get(index).map_or((u8::MAX, 0), class);
        hash = mix(hash, u64::from(kind) << 16 | u64::from(count));
    }
    hash
}

/// As Firefox's hash tables do it: a shape is looked up for every line, and nobody gains by two
/// that have the same hash.
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95)
}

/// No twin.
pub const NONE: u8 = u8::MAX;
/// Values of one line. A line of Dovecot 2.4 has about 45.
pub const HOLES_MAX: usize = 96;

const USERDB: &[u8] = b"userdb_fields=";
/// Keys of Dovecot 2.4.1 and the word of its `stats` that says the same.
const SAME: [(&[u8], &[u8]); 9] = [
    (b"fetch_hdr_count", b"hdr_count"),
    (b"fetch_hdr_bytes", b"hdr_bytes"),
    (b"fetch_body_count", b"body_count"),
    (b"fetch_body_bytes", b"body_bytes"),
    (b"deleted_count", b"deleted"),
    (b"expunged_count", b"expunged"),
    (b"trashed_count", b"trashed"),
    (b"input_bytes_extra", b"in"),
    (b"output_bytes_extra", b"out"),
];

const _: () = assert!(HOLES_MAX < NONE as usize);
const _: () = assert!(super::LINE_BYTES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[u8]) -> (Vec<Hole>, Option<u64>) {
        let mut found = Vec::with_capacity(HOLES_MAX);
        let shape = holes(line, &mut found);
        pair_up(line, &mut found);
        (found, shape)
    }

    #[test]
    fn values_are_holes_and_keys_are_not() {
        let line = b"u1\tp: \trport=33264\tuserdb_fields=uid=5\x01thome=/m/u1\x01tx\tuid=5\t\
            mailbox=a b=c\tstats=in=26 out=747\tidle-cmd\tinput_bytes_extra=26\n";
        let (found, shape) = of(line);
        let values: Vec<&[u8]> = found.iter().map(|hole| hole.of(line)).collect();
        let expected: [&[u8]; 10] =
            [b"u1", b"p: ", b"33264", b"5", b"/m/u1", b"5", b"a b=c", b"26", b"747", b"26"];
        assert_eq!(values, expected);
        assert_eq!(found[5].twin, 3, "uid is said twice");
        assert_eq!(found[9].twin, 7, "input_bytes_extra says what in says");
        assert_eq!(found[8].twin, NONE);
        assert!(shape.is_some());
    }

    #[test]
    fn other_values_have_the_same_shape_and_other_keys_have_not() {
        let one = b"u1\tp\ttag=a1\tuid=5\tidle-cmd\n";
        let ((holes, shape), (others, other)) = (of(one), of(b"bob\tq\ttag=b\tuid=77\tidle-cmd\n"));
        assert_eq!(shape, other);
        assert!(is_alike(one, &holes, b"bob\tq\ttag=b\tuid=77\tidle-cmd\n", &others));
        for line in [&b"u1\tp\ttag=a1\tgid=5\tidle-cmd\n"[..], b"u1\tp\ttag=a1\tuid=x\tidle-cmd\n"]
        {
            let (others, other) = of(line);
            assert_ne!(shape, other);
            assert!(!is_alike(one, &holes, line, &others));
        }
    }

    #[test]
    fn too_much_has_no_shape() {
        assert_eq!(of(&[b'x'; super::super::LINE_BYTES_MAX + 1]).1, None);
        assert_eq!(of("a=\t".repeat(HOLES_MAX + 1).as_bytes()).1, None);
        assert!(of(b"").1.is_some() && of(b"\n").1.is_some());
    }
}
