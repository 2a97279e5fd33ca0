//! How one input holds two things: where and how to cut, and the bytes that are cut.
//!
//! ```text
//! [ count ][ gap, deed ] × count [ bytes … ]
//! ```
//! The bytes stay in one piece, so that words of a dictionary fall where a parser sees them.

/// A cut: after `gap` more bytes, with something that happens there.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub gap: u8,
    pub deed: u8,
}

/// Splits an input; an input too short for its cuts has fewer.
pub fn split(input: &[u8]) -> (impl Iterator<Item = Cut> + Clone, &[u8]) {
    let (&count, rest) = input.split_first().unwrap_or((&0, input));
    let cuts = rest.len().min(2 * usize::from(count % (CUTS_MAX + 1))) / 2;
    let (plan, bytes) = rest.split_at(2 * cuts);
    (plan.chunks_exact(2).map(|pair| Cut { gap: pair[0], deed: pair[1] }), bytes)
}

/// The pieces of `bytes` between the cuts, each with the deed that happens before it; what is
/// behind the last cut is the last piece, and has deed 0 if there was no cut at all.
pub fn pieces(input: &[u8]) -> Vec<(u8, &[u8])> {
    let (cuts, mut rest) = split(input);
    let (mut pieces, mut deed) = (Vec::new(), 0);
    for cut in cuts {
        let (piece, later) = rest.split_at(rest.len().min(cut.gap.into()));
        pieces.push((deed, piece));
        (rest, deed) = (later, cut.deed);
    }
    pieces.push((deed, rest));
    pieces
}

const CUTS_MAX: u8 = 15;
