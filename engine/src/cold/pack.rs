//! A line as its difference from a model: what is left is hardly more than what nobody can guess.
//!
//! ```text
//! 1 bit for each hole: is its value another than the guess? │ the values that are, short
//! ```
//! The *guess* is the value of an earlier hole that says the same (a twin), else the model's value
//! with the model's user and mailbox exchanged for the line's: homes and states hold their names.
//! Numbers are kept as distances from their guess, texts without the ends that they share with it.

use memchr::memchr3;

use super::kind::{Kind, number, put_decimal};
use super::model::Model;
use super::shape::{Hole, NONE, between};

/// The buffers of the work; nothing is kept in them.
pub struct Packer {
    /// As it stands in the line; of base64 the bytes.
    guess: Vec<u8>,
    short: Vec<u8>,
    /// Values of the line so far, by their places in it.
    seen: Vec<[usize; 2]>,
    /// Which of them is the mailbox.
    mailbox: Option<usize>,
}

impl Packer {
    pub fn new() -> Self {
        let buffer = || Vec::with_capacity(GUESS_BYTES_MAX);
        let seen = Vec::with_capacity(super::shape::HOLES_MAX);
        Self { guess: buffer(), short: buffer(), seen, mailbox: None }
    }

    /// Appends the difference of `line`, which has the model's shape and these holes.
    pub fn pack(&mut self, model: Model<'_>, line: &[u8], holes: &[Hole], out: &mut Vec<u8>) {
        assert_eq!(model.holes.len(), holes.len(), "another shape");
        let flags = out.len();
        out.resize(flags + holes.len().div_ceil(8), 0);
        self.begin();
        for (index, hole) in holes.iter().enumerate() {
            let kind = hole.kind();
            self.guess(model, index, line);
            let mut value = hole.of(line);
            if kind == Kind::Base64 {
                self.short.clear();
                kind.shorten(value, &mut self.short);
                value = &self.short;
            }
            // Values of a kind that say the same are the same, so nothing is lost here.
            if value != self.guess {
                out[flags + index / 8] |= 1 << (index % 8);
                put(kind, &self.guess, value, out);
            }
            self.see(model, index, [hole.at.into(), hole.end.into()]);
        }
    }

    /// Appends the line that `packed` stands for; bytes behind it are not looked at. `None` when
    /// it stands for none.
    pub fn unpack(&mut self, model: Model<'_>, packed: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (flags, mut rest) = packed.split_at_checked(model.holes.len().div_ceil(8))?;
        let start = out.len();
        self.begin();
        for (index, hole) in model.holes.iter().enumerate() {
            out.extend_from_slice(between(model.line, model.holes, index));
            let (kind, at) = (hole.kind(), out.len() - start);
            self.guess(model, index, &out[start..]);
            let is_guessed = flags[index / 8] & 1 << (index % 8) == 0;
            if !is_guessed {
                self.short.clear();
                take(kind, hole, &self.guess, &mut rest, &mut self.short)?;
            }
            let value = if is_guessed { &self.guess } else { &self.short };
            if at + RESTORED_RATIO * value.len() > UNPACKED_BYTES_MAX {
                return None;
            }
            match kind {
                Kind::Hex | Kind::V4 | Kind::V6 if is_guessed => out.extend_from_slice(value),
                _ => kind.restore(value, out),
            }
            self.see(model, index, [at, out.len() - start]);
        }
        out.extend_from_slice(between(model.line, model.holes, model.holes.len()));
        Some(())
    }

    fn begin(&mut self) {
        self.seen.clear();
        self.mailbox = None;
    }

    /// The value of hole `index` is in the line, at this place.
    fn see(&mut self, model: Model<'_>, index: usize, place: [usize; 2]) {
        assert_eq!(self.seen.len(), index, "one after the other");
        self.seen.push(place);
        if self.mailbox.is_none() && model.holes[index].key(model.line) == b"mailbox" {
            self.mailbox = Some(index);
        }
    }

    /// What hole `index` most likely holds, given the holes before it.
    fn guess(&mut self, model: Model<'_>, index: usize, line: &[u8]) {
        let hole = model.holes[index];
        let value = |at: usize| &line[self.seen[at][0]..self.seen[at][1]];
        let has_twin = hole.twin != NONE;
        let mut text = if has_twin { value(hole.twin.into()) } else { hole.of(model.line) };
        if hole.kind() == Kind::Base64 {
            self.short.clear();
            hole.kind().shorten(text, &mut self.short);
            text = &self.short;
        }
        self.guess.clear();
        if has_twin || index == 0 || !matches!(hole.kind(), Kind::Text | Kind::Base64) {
            return self.guess.extend_from_slice(text);
        }
        let both = |at: usize| [model.holes[at].of(model.line), value(at)];
        let words = [both(0), both(0).map(local), self.mailbox.map_or([&[]; 2], both)];
        exchange(text, &words, hole.kind() == Kind::Text, &mut self.guess);
    }
}

/// Copies `text` with the first of each pair of `words` exchanged for the second; `whole`: only
/// where it is not a part of a longer word.
fn exchange(text: &[u8], words: &[[&[u8]; 2]; 3], whole: bool, out: &mut Vec<u8>) {
    let is_letter = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let fits = |from: &[u8], at: usize| {
        if from.is_empty() || !text[at..].starts_with(from) {
            return false;
        }
        let inside = (at > 0 && is_letter(at - 1)) || is_letter(at + from.len());
        !(whole && inside)
    };
    // Where there is no word, any first byte will do.
    let first = words.map(|[from, _]| from.first().copied().unwrap_or_default());
    let (mut copied, mut at) = (0, 0);
    while let Some(next) = memchr3(first[0], first[1], first[2], &text[at..]) {
        at += next;
        let Some([from, to]) = words.iter().find(|[from, _]| fits(from, at)) else {
            at += 1;
            continue;
        };
        if out.len() + (at - copied) + to.len() > GUESS_BYTES_MAX {
            return;
        }
        out.extend_from_slice(&text[copied..at]);
        out.extend_from_slice(to);
        at += from.len();
        copied = at;
    }
    let room = GUESS_BYTES_MAX - out.len();
    out.extend_from_slice(&text[copied..][..room.min(text.len() - copied)]);
}

/// The part of a login name before its domain.
fn local(user: &[u8]) -> &[u8] {
    user.split(|byte| *byte == b'@').next().unwrap_or(user)
}

fn put(kind: Kind, guess: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Hex | Kind::V4 | Kind::V6 => kind.shorten(value, out),
        Kind::Number => {
            let [guess, value] = [guess, value].map(|text| number(text).unwrap_or(0));
            let distance = value.wrapping_sub(guess).cast_signed();
            put_number((distance << 1 ^ distance >> 63).cast_unsigned(), out);
        }
        Kind::Text | Kind::Base64 => {
            let front = guess.iter().zip(value).take_while(|(one, two)| one == two).count();
            let (guess, value) = (&guess[front..], &value[front..]);
            let back = guess.iter().rev().zip(value.iter().rev());
            let back = back.take_while(|(one, two)| one == two).count();
            let ends = [front, back].map(|count| count.min(END_BYTES_MAX) as u8);
            out.push(ends[0] << 4 | ends[1]);
            for count in [front, back].into_iter().filter(|count| *count >= END_BYTES_MAX) {
                put_number((count - END_BYTES_MAX) as u64, out);
            }
            let middle = &value[..value.len() - back];
            put_number(middle.len() as u64, out);
            out.extend_from_slice(middle);
        }
    }
}

/// The other way; what becomes of it is [`Kind::restore`]'s to take.
fn take(kind: Kind, hole: &Hole, guess: &[u8], from: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Hex => out.extend_from_slice(from.split_off(..usize::from(hole.end - hole.at) / 2)?),
        Kind::V4 => out.extend_from_slice(from.split_off(..4)?),
        Kind::V6 => out.extend_from_slice(from.split_off(..16)?),
        Kind::Number => {
            let folded = take_number(from)?;
            let distance = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
            let guess = number(guess).unwrap_or(0);
            put_decimal(guess.wrapping_add(distance.cast_unsigned()), out);
        }
        Kind::Text | Kind::Base64 => {
            let ends = *from.split_off_first()?;
            let mut end = |nibble: u8| match usize::from(nibble) {
                END_BYTES_MAX => {
                    usize::try_from(take_number(from)?).ok()?.checked_add(END_BYTES_MAX)
                }
                count => Some(count),
            };
            let (front, back) = (end(ends >> 4)?, end(ends & 15)?);
            let count = usize::try_from(take_number(from)?).ok()?;
            let middle = from.split_off(..count)?;
            let back = guess.get(guess.len().checked_sub(back)?..)?;
            out.extend_from_slice(guess.get(..front)?);
            out.extend_from_slice(middle);
            out.extend_from_slice(back);
        }
    }
    Some(())
}

/// Seven bits a byte, the lowest first; the upper bit is set while more follow.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *from.split_off_first()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Shared ends from here on take a number of their own.
const END_BYTES_MAX: usize = 15;
/// A guess is cut here, on both ways in the same place.
const GUESS_BYTES_MAX: usize = 2 * super::LINE_BYTES_MAX;
/// No short form becomes longer than this many times itself: four bytes of an address, fifteen.
const RESTORED_RATIO: usize = 4;
/// A longer one is no line of ours. What is read is checked against the room before.
const UNPACKED_BYTES_MAX: usize = 3 * super::LINE_BYTES_MAX;
