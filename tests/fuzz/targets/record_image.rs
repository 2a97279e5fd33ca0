//! Any damage to the memory that an heir adopts: it takes over or says that this is no memory of
//! ours, and never panics. Whose record, words and send are sound goes to a worker with the words
//! it came with; a byte that was hit costs one client at most.
//!
//! ```text
//! [ scene ][ where, at, at, what, value ] × n
//! ```

mod scene;

use torpor_engine::ring::{Completion, Span};
use torpor_engine::token::Kind;

use super::lab::Lab;
use scene::{Area, Scene};

thread_local! {
    static SCENES: Vec<Scene> = Scene::all();
}

pub fn run(input: &[u8]) {
    let (&number, rest) = input.split_first().unwrap_or((&0, input));
    SCENES.with(|scenes| play(&scenes[usize::from(number) % scenes.len()], rest));
}

fn play(scene: &Scene, edits: &[u8]) {
    let mut memory = scene.set();
    let (mut hits, mut is_local) = (0, true);
    let mut completed: Vec<(Completion, &[u8])> = Vec::new();
    for edit in edits.as_chunks::<EDIT_BYTES>().0.iter().take(EDITS_MAX) {
        let [place, low, high, what, value] = *edit;
        let at = usize::from(u16::from_le_bytes([low, high]));
        let Some(area) = Area::of(place) else {
            let known = |(done, _): &(Completion, _)| done.token != scene.flying(at);
            if completed.iter().all(known) {
                completed.extend(completion(scene, at, value));
            }
            // What it does to its client is another target's business.
            is_local = false;
            continue;
        };
        is_local &= area.is_local() && what % 4 < 2;
        hits += 1;
        area.edit(&mut memory, at, what, value);
    }
    let Ok(mut lab) = Lab::inherit(memory, &completed) else {
        assert!(!is_local, "refused for the sake of one client");
        return;
    };
    let mut left = scene.words.clone();
    lab.wake_all(|slot, words| {
        let expected = left.remove(&slot);
        assert!(!is_local || expected == Some(came_with(words)), "the words of slot {slot}");
    });
    assert!(!is_local || left.len() <= hits, "{hits} bytes were hit, {:?} are lost", left.keys());
    lab.finish();
}

/// The words of a request that are the line's; not those of what made the client wake.
fn came_with(request: &[u8]) -> Vec<u8> {
    let fields = request.split(|byte| *byte == b'\t');
    fields.filter(|field| !field.starts_with(b"client_")).collect::<Vec<_>>().join(&b'\t')
}

/// One of the operations that were in flight has completed, in one of the ways it can.
fn completion(scene: &Scene, at: usize, value: u8) -> Option<(Completion, &'static [u8])> {
    let token = scene.flying(at);
    let (result, bytes): (i32, &[u8]) = match token.kind() {
        Kind::ClientRecv if value & 1 == 0 => (6, b"DONE\r\n"),
        Kind::ClientRecv => (2, b"DO"),
        Kind::ClientSend if value & 1 == 0 => (1, b""),
        Kind::ConnSend if value & 1 == 0 => (2, b""),
        Kind::ClientSend | Kind::ConnSend => (-libc::EPIPE, b""),
        Kind::ConnRecv => (0, b""),
        _ => return None,
    };
    let mut done = Completion::plain(token, result, false);
    done.bytes = Span { at: 0, count: bytes.len() as u32 };
    Some((done, bytes))
}

const EDIT_BYTES: usize = 5;
const EDITS_MAX: usize = 16;
