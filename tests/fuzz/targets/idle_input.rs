//! Any bytes of a sleeping client, cut anywhere: judged as a second writing of the rules judges
//! them, and each byte is answered or handed to the worker, once and in order.

use torpor_engine::idle::{Verdict, judge};
use torpor_engine::ring::CLIENT_BUFFER_BYTES;
use torpor_handoff::line::MasterRequest;

use super::lab::{Lab, TAG};
use super::plan::pieces;

pub fn run(input: &[u8]) {
    let pieces = pieces(input);
    let whole: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect();
    for end in (0..=whole.len()).filter(|end| *end < ENDS || *end + ENDS > whole.len()) {
        let bytes = &whole[..end];
        assert_eq!(judge(bytes), model(bytes), "{}", bytes.escape_ascii());
    }
    sleep(pieces.iter().flat_map(|(_, piece)| piece.chunks(CLIENT_BUFFER_BYTES)));
}

/// RFC 2177, as docs/PROTOCOL.md has it, with lines instead of patterns.
fn model(bytes: &[u8]) -> Verdict {
    let text = bytes.to_ascii_lowercase();
    if b"done\r".starts_with(&text) {
        return Verdict::Partial;
    }
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let [done, idle] = lines[..] else { return Verdict::Wake };
    let (Some(b"done"), Some(command)) = (bare(done), bare(idle)) else { return Verdict::Wake };
    let Some(tag) = command.strip_suffix(b" idle") else { return Verdict::Wake };
    match (1..=128).contains(&tag.len()) && tag.iter().all(|byte| TAG_CHARS.contains(byte)) {
        true => Verdict::DoneIdle(done.len()..done.len() + tag.len()),
        false => Verdict::Wake,
    }
}

/// A line without its end, CR LF or LF.
fn bare(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The client says it piece by piece to a core in which it sleeps.
fn sleep<'a>(pieces: impl Iterator<Item = &'a [u8]>) {
    let mut lab = Lab::new();
    lab.hibernate();
    let (mut undecided, mut tag, mut told) = (Vec::new(), TAG.to_vec(), Vec::new());
    let (mut answered, mut kept) = (0, Vec::new());
    let mut woken = false;
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        if !lab.client_says(piece) {
            break;
        }
        kept.extend_from_slice(piece);
        undecided.extend_from_slice(piece);
        match model(&undecided) {
            Verdict::Partial => continue,
            Verdict::DoneIdle(new) => {
                told.extend_from_slice(&tag);
                told.extend_from_slice(b" OK Idle completed.\r\n+ idling\r\n");
                tag = undecided[new].to_vec();
                answered += undecided.len();
                kept.clear();
            }
            Verdict::Wake => woken = true,
        }
        undecided.clear();
        lab.settle();
        assert_eq!(lab.wakes.len(), usize::from(woken));
        if woken {
            break;
        }
    }
    assert_eq!(lab.told.escape_ascii().to_string(), told.escape_ascii().to_string());
    if let Some(wake) = lab.wakes.first() {
        let line = wake.parcel.strip_suffix(b"\n").expect("a request is a line");
        let request = MasterRequest::parse(line).expect("a worker reads what we write");
        let (mut input, mut name) = (Vec::new(), Vec::new());
        request.client_input_into(&mut input);
        request.line.tag_into(&mut name);
        assert_eq!((input, name), (kept, tag), "{answered} bytes were answered");
    }
    lab.finish();
}

/// Cuts at either end that are judged; in the middle lies a tag, or what wakes anyway.
const ENDS: usize = 24;
/// RFC 3501 section 9, written out: what a tag may consist of, less `]`.
const TAG_CHARS: &[u8] = b"!#$&',-./0123456789:;<=>?@^_`abcdefghijklmnopqrstuvwxyz|}~[";
