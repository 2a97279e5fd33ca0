//! A line as its difference from a model: what is left is hardly more than what nobody can guess.
//!
//! ```text
//! 1 bit for each hole: is its value another than the guess? │ the values that are, short
//! ```
//! The *guess* is the value of an earlier hole that says the same (a twin), else the model's value
//! with the model's user and mailbox exchanged for the line's: homes and states hold their names.
//! Numbers are kept as distances from their guess, texts without the ends that they share with it.

use super::kind::Kind;
use super::model::Model;
use super::shape::{Hole, NONE, between};

/// The buffers of the work; nothing is kept in them.
pub struct Packer {
    guess: Vec<u8>,
    short: Vec<u8>,
    /// Values of the line so far, by their places in it.
    seen: Vec<[usize; 2]>,
}

impl Packer {
    pub fn new() -> Self {
        let buffer = || Vec::with_capacity(GUESS_BYTES_MAX);
        Self { guess: buffer(), short: buffer(), seen: Vec::with_capacity(super::shape::HOLES_MAX) }
    }

    /// Appends the difference of `line`, which has the model's shape and these holes.
    pub fn pack(&mut self, model: Model<'_>, line: &[u8], holes: &[Hole], out: &mut Vec<u8>) {
        assert_eq!(model.holes.len(), holes.len(), "another shape");
        let flags = out.len();
        out.resize(flags + holes.len().div_ceil(8), 0);
        self.seen.clear();
        for (index, hole) in holes.iter().enumerate() {
            self.guess(model, index, line);
            self.short.clear();
            hole.kind().shorten(hole.of(line), &mut self.short);
            if self.short != self.guess {
                out[flags + index / 8] |= 1 << (index % 8);
                put(hole.kind(), &self.guess, &self.short, out);
            }
            self.seen.push([hole.at.into(), hole.end.into()]);
        }
    }

    /// Appends the line that `packed` stands for; bytes behind it are not looked at. `None` when
    /// it stands for none.
    pub fn unpack(&mut self, model: Model<'_>, packed: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (flags, mut rest) = packed.split_at_checked(model.holes.len().div_ceil(8))?;
        let start = out.len();
        self.seen.clear();
        for (index, hole) in model.holes.iter().enumerate() {
            out.extend_from_slice(between(model.line, model.holes, index));
            self.guess(model, index, &out[start..]);
            let kind = hole.kind();
            if flags[index / 8] & 1 << (index % 8) != 0 {
                self.short.clear();
                take(kind, hole, &self.guess, &mut rest, &mut self.short)?;
                std::mem::swap(&mut self.short, &mut self.guess);
            }
            if out.len() - start + RESTORED_RATIO * self.guess.len() > UNPACKED_BYTES_MAX {
                return None;
            }
            let at = out.len() - start;
            kind.restore(&self.guess, out);
            self.seen.push([at, out.len() - start]);
        }
        out.extend_from_slice(between(model.line, model.holes, model.holes.len()));
        Some(())
    }

    /// What hole `index` most likely holds, given the holes before it.
    fn guess(&mut self, model: Model<'_>, index: usize, line: &[u8]) {
        let hole = model.holes[index];
        let kind = hole.kind();
        self.guess.clear();
        if hole.twin != NONE {
            let [at, end] = self.seen[usize::from(hole.twin)];
            return kind.shorten(&line[at..end], &mut self.guess);
        }
        if !matches!(kind, Kind::Text | Kind::Base64) || index == 0 {
            return kind.shorten(hole.of(model.line), &mut self.guess);
        }
        let value = |at: usize| &line[self.seen[at][0]..self.seen[at][1]];
        let named = |hole: &Hole| hole.key(model.line) == b"mailbox";
        let mailbox = model.holes[..index].iter().position(named);
        let mailbox =
            mailbox.map_or([&b""[..]; 2], |at| [model.holes[at].of(model.line), value(at)]);
        let user = [model.holes[0].of(model.line), value(0)];
        let words = [user, user.map(local), mailbox];
        self.short.clear();
        kind.shorten(hole.of(model.line), &mut self.short);
        exchange(&self.short, &words, kind == Kind::Text, &mut self.guess);
    }
}

/// Copies `text` with the first of each pair of `words` exchanged for the second; `whole`: only
/// where it is not a part of a longer word.
fn exchange(text: &[u8], words: &[[&[u8]; 2]], whole: bool, out: &mut Vec<u8>) {
    let is_letter = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let fits = |from: &[u8], at: usize| {
        let inside = (at > 0 && is_letter(at - 1)) || is_letter(at + from.len());
        !from.is_empty() && text[at..].starts_with(from) && !(whole && inside)
    };
    let mut at = 0;
    while at < text.len() {
        let word = words.iter().find(|[from, _]| fits(from, at));
        let (from, to) = word.map_or((1, &text[at..=at]), |[from, to]| (from.len(), to));
        if out.len() + to.len() > GUESS_BYTES_MAX {
            return;
        }
        out.extend_from_slice(to);
        at += from;
    }
}

/// The part of a login name before its domain.
fn local(user: &[u8]) -> &[u8] {
    user.split(|byte| *byte == b'@').next().unwrap_or(user)
}

fn put(kind: Kind, guess: &[u8], short: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Hex | Kind::V4 | Kind::V6 => out.extend_from_slice(short),
        Kind::Number => {
            let distance = number(short).wrapping_sub(number(guess)).cast_signed();
            put_number((distance << 1 ^ distance >> 63).cast_unsigned(), out);
        }
        Kind::Text | Kind::Base64 => {
            let front = guess.iter().zip(short).take_while(|(one, two)| one == two).count();
            let (guess, short) = (&guess[front..], &short[front..]);
            let back = guess.iter().rev().zip(short.iter().rev());
            let back = back.take_while(|(one, two)| one == two).count();
            let ends = [front, back].map(|count| count.min(END_BYTES_MAX) as u8);
            out.push(ends[0] << 4 | ends[1]);
            for count in [front, back].into_iter().filter(|count| *count >= END_BYTES_MAX) {
                put_number((count - END_BYTES_MAX) as u64, out);
            }
            let middle = &short[..short.len() - back];
            put_number(middle.len() as u64, out);
            out.extend_from_slice(middle);
        }
    }
}

fn take(kind: Kind, hole: &Hole, guess: &[u8], from: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Hex => out.extend_from_slice(from.split_off(..usize::from(hole.end - hole.at) / 2)?),
        Kind::V4 => out.extend_from_slice(from.split_off(..4)?),
        Kind::V6 => out.extend_from_slice(from.split_off(..16)?),
        Kind::Number => {
            let folded = take_number(from)?;
            let distance = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
            let value = number(guess).wrapping_add(distance.cast_unsigned());
            out.extend_from_slice(&value.to_le_bytes());
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

fn number(short: &[u8]) -> u64 {
    short.try_into().map_or(0, u64::from_le_bytes)
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
/// No short form becomes longer than this many times itself, addresses of IPv6 included.
const RESTORED_RATIO: usize = 3;
/// A longer one is no line of ours. What is read is checked against the room before.
const UNPACKED_BYTES_MAX: usize = 3 * super::LINE_BYTES_MAX;
