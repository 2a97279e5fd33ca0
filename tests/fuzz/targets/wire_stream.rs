//! A worker's bytes cut anywhere, with descriptors on any of them, and the ring's and watcher's
//! answers at any time: the client is given or kept, no descriptor is lost. When the other side
//! does nothing in between, the cuts change nothing.

use torpor_engine::ring::{CONN_RECV_BYTES, PassedKind};
use torpor_engine::token::Kind;
use torpor_handoff::line::HibernateLine;

use super::lab::Lab;
use super::plan::pieces;

/// A deed: `00eeekkk` something happens, or `1cckkkk.` descriptors ride on the next byte.
pub fn run(input: &[u8]) {
    let pieces = pieces(input);
    let (said, given) = play(&pieces);
    check(&pieces, &said, given);
    if pieces.iter().all(|(deed, _)| *deed == 0 || Rider::of(*deed).is_some()) {
        let whole = joined(&pieces);
        let whole: Vec<(u8, &[u8])> =
            whole.iter().map(|(deed, bytes)| (*deed, &bytes[..])).collect();
        let (at_once, given_at_once) = play(&whole);
        assert_eq!(
            (said.escape_ascii().to_string(), given),
            (at_once.escape_ascii().to_string(), given_at_once)
        );
    }
}

/// Descriptors on one byte.
struct Rider {
    kinds: Vec<PassedKind>,
    lost: bool,
}

impl Rider {
    fn of(deed: u8) -> Option<Self> {
        let kind = KINDS[usize::from(deed >> 1 & 7) % KINDS.len()];
        let count = deed >> 5 & 3;
        let kinds = vec![kind; usize::from(count.min(2))];
        (deed & 0x80 != 0).then_some(Self { kinds, lost: count == 3 })
    }
}

/// What the worker was told, and whether its client is ours at the end.
fn play(pieces: &[(u8, &[u8])]) -> (Vec<u8>, bool) {
    let mut lab = Lab::new();
    lab.connect();
    for (deed, piece) in pieces {
        let rider = Rider::of(*deed);
        if rider.is_none() {
            happen(&mut lab, *deed);
        }
        let Rider { kinds, lost } = rider.unwrap_or(Rider { kinds: Vec::new(), lost: false });
        for (index, part) in piece.chunks(CONN_RECV_BYTES).enumerate() {
            match index {
                0 => lab.worker_says(part, &kinds, lost),
                _ => lab.worker_says(part, &[], false),
            }
        }
    }
    lab.settle();
    lab.recv_ends(Kind::ConnRecv, 0);
    lab.settle();
    let outcome = (lab.said.clone(), lab.hibernated() > 0);
    lab.finish();
    outcome
}

fn happen(lab: &mut Lab, deed: u8) {
    match deed & 7 {
        1 => drop(lab.complete_one(false)),
        2 => drop(lab.complete_one(true)),
        3 => drop(lab.adopt(false)),
        4 => drop(lab.adopt(true)),
        5 => lab.recv_ends(Kind::ConnRecv, -libc::EINTR),
        6 => lab.recv_ends(Kind::ConnRecv, if deed & 8 == 0 { 0 } else { -libc::ECONNRESET }),
        7 => lab.pass_ms(31_000),
        _ => {}
    }
}

/// The same stream with cuts only where a message with descriptors begins or ends, since a read
/// ends there.
fn joined(pieces: &[(u8, &[u8])]) -> Vec<(u8, Vec<u8>)> {
    let mut whole: Vec<(u8, Vec<u8>)> = Vec::new();
    for (deed, piece) in pieces.iter().filter(|(_, piece)| !piece.is_empty()) {
        match whole.last_mut() {
            Some((0, last)) if *deed == 0 => last.extend_from_slice(piece),
            _ => whole.push((*deed, piece.to_vec())),
        }
    }
    whole
}

/// Who was given has said what can be given, and who was refused knows why.
fn check(pieces: &[(u8, &[u8])], said: &[u8], given: bool) {
    let words: Vec<&[u8]> = said.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(words.iter().all(|word| word.ends_with(b"\n")), "{}", said.escape_ascii());
    let refused = words.iter().filter(|word| word.starts_with(b"-")).count();
    assert!(refused <= 1 && (refused == 0 || !given), "{}", said.escape_ascii());
    if given {
        let bytes: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect();
        let line = bytes.split(|byte| *byte == b'\n').nth(1).expect("VERSION, then a line");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let parsed = HibernateLine::parse(line).expect("a line that was accepted");
        let pluses = words.iter().filter(|word| **word == b"+\n").count();
        assert_eq!(pluses, if parsed.notify_fd { 2 } else { 1 }, "{}", said.escape_ascii());
    }
}

const KINDS: [PassedKind; 5] = [
    PassedKind::Tcp,
    PassedKind::Unix,
    PassedKind::Inotify,
    PassedKind::Pollable,
    PassedKind::Other,
];
