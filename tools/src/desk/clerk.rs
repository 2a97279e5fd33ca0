//! The clerk: renders what the engine said. Its thread may take its time.

use std::io;
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;

use super::note::{Note, NotePool};
use crate::card::Card;
use crate::log::{Said, say};

/// Starts the clerk; it ends when the desk is gone and its last note is written.
pub fn start_clerk(notes: Receiver<Note>, pool: NotePool) -> io::Result<JoinHandle<()>> {
    Builder::new().name("torpor-clerk".into()).spawn(move || {
        for note in &notes {
            say(&said(&note));
            pool.recycle(note);
            if notes.is_empty() {
                thread::sleep(GATHER);
            }
        }
    })
}

fn said(note: &Note) -> Said {
    // Later by the note's time in the channel, which is too short to matter in a log.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Said {
        event: note.event,
        started_us: note.started_us,
        now_us: now.as_micros() as u64,
        card: Card::parse(note.card()),
        text: String::from_utf8_lossy(note.text()).trim_end().to_owned(),
    }
}

/// Events of so long are written in a row, so that the engine thread need not wake this one for
/// each. The channel has room for a hundred times as many as come in the fastest of storms.
const GATHER: Duration = Duration::from_millis(1);
