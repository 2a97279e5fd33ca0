//! An engine with a client in every state, killed; its memory, and where damage can fall.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use torpor_engine::core::Core;
use torpor_engine::limits::Knobs;
use torpor_engine::memory::{Memory, spare};
use torpor_engine::planted::kill_in;
use torpor_engine::ring::PassedKind;
use torpor_engine::token::Token;

use super::super::lab::{Lab, SLOTS_MAX, VERSION, limits};
use super::came_with;

/// See the module.
pub struct Scene {
    /// What each of its maps holds, and where.
    images: [Vec<(Range<usize>, Vec<u8>)>; 6],
    flying: Vec<Token>,
    /// What each client that is ours goes to a worker with, by slot.
    pub words: BTreeMap<u32, Vec<u8>>,
}

impl Scene {
    /// Killed between two steps, and at some points of the step in which a client wakes.
    pub fn all() -> Vec<Self> {
        [0, 4, 12, 30].map(Self::new).into()
    }

    fn new(killed_in: u64) -> Self {
        let mut lab = Lab::start(Core::new(&limits(), Knobs::default(), 1));
        for number in 0..6 {
            lab.hibernate_with(line(number).as_bytes());
        }
        lab.client_in_says(3, b"DO");
        // One is handed, one waits for the place.
        lab.client_in_says(4, b"DONE\r\n");
        lab.client_in_says(5, b"DONE\r\n");
        lab.settle();
        lab.connect();
        lab.worker_says(VERSION, &[], false);
        lab.worker_says(line(6).as_bytes(), &[PassedKind::Tcp], false);
        lab.settle();
        lab.worker_says(b"\n", &[PassedKind::Inotify], false);
        lab.settle();
        lab.connect();
        lab.worker_says(VERSION, &[], false);
        lab.worker_says(line(7).as_bytes(), &[PassedKind::Tcp], false);
        // A keepalive is on its way when the engine dies.
        lab.pass_ms(1000 * u64::from(KEEPALIVE_SECS) + 100);
        kill_in(killed_in);
        let _ = catch_unwind(AssertUnwindSafe(|| lab.client_in_says(0, b"DONE\r\n")));
        kill_in(0);
        let flying = lab.flying.clone();
        let mut memory = lab.into_memory();
        let images = memory
            .maps()
            .map(|map| map.written().map(|range| (range.clone(), map[range].to_vec())).collect());
        spare::keep(&limits(), memory);
        let mut scene = Self { images, flying, words: BTreeMap::new() };
        let mut lab = Lab::inherit(scene.set(), &[]).expect("ours");
        lab.wake_all(|slot, words| assert!(scene.words.insert(slot, came_with(words)).is_none()));
        assert_eq!(scene.words.len(), 7, "all but who was offered");
        lab.finish();
        scene
    }

    /// The memory as it was when the engine was killed.
    pub fn set(&self) -> Memory {
        let mut memory = spare::memory(&limits());
        for (map, image) in memory.maps().into_iter().zip(&self.images) {
            for (range, bytes) in image {
                map[range.clone()].copy_from_slice(bytes);
            }
        }
        memory
    }

    pub fn flying(&self, at: usize) -> Token {
        self.flying[at % self.flying.len()]
    }
}

/// Where an edit falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    Records,
    Seals,
    Sends,
    Blocks,
    Shelf,
    Models,
    Mailboxes,
    /// Head and words of any image, by the edit's place.
    Heads,
    Journals,
}

impl Area {
    /// `None`: no memory is edited, an operation has completed.
    pub fn of(place: u8) -> Option<Self> {
        use Area::*;
        let all = [Records, Seals, Sends, Blocks, Shelf, Models, Heads, Journals, Mailboxes];
        all.get(usize::from(place) % (all.len() + 1)).copied()
    }

    /// True exactly when each byte of it is one client's.
    pub fn is_local(self) -> bool {
        !matches!(self, Self::Models | Self::Heads | Self::Journals)
    }

    pub fn edit(self, memory: &mut Memory, at: usize, what: u8, value: u8) {
        let records = 64 * SLOTS_MAX as usize;
        let maps = memory.maps();
        let (map, from, bytes) = match self {
            Self::Records => (0, DATA_AT, records),
            Self::Seals => (0, DATA_AT + records, 4 * SLOTS_MAX as usize),
            Self::Sends => (1, DATA_AT, 4 * 192),
            Self::Blocks => (2, DATA_AT, 32 * 128),
            Self::Shelf => (3, DATA_AT, 8 * 4096),
            Self::Models => (4, DATA_AT, 4096 + 2 * 2824),
            // The head is longer than what it says.
            Self::Mailboxes => (5, DATA_AT, 64),
            Self::Heads => (at % 6, 4096 * (at / 6 % 2), 64),
            Self::Journals => (at % 6, journal_at(maps[at % 6].len()), 80 * 10),
        };
        let at = if matches!(self, Self::Heads | Self::Journals) { at / 10 } else { at } % bytes;
        let area = &mut maps.into_iter().nth(map).expect("one of six")[from..from + bytes];
        match what % 4 {
            0 => area[at] ^= 1 << (value % 8),
            1 => area[at] = value,
            2 => {
                let end = bytes.min(at + 4);
                area[at..end].fill(value);
            }
            _ => {
                let line = bytes.min(64);
                let from = usize::from(value) % (bytes / line) * line;
                area.copy_within(from..from + line, at / line % (bytes / line) * line);
            }
        }
    }
}

/// As `Image::map_bytes` has it.
fn journal_at(map_bytes: usize) -> usize {
    4096 + (map_bytes - 4096) / (64 + 80) * 64
}

fn line(number: u32) -> String {
    let secs = if number == 2 { KEEPALIVE_SECS } else { 0 };
    format!(
        "u{number}\tp: \tidle_notify_interval={secs}\tpeer_dev_major=0\tpeer_dev_minor=9\t\
         peer_ino=77\tsession=s{number}\ttag=a{number}\tmailbox=m{number}\tidle-cmd\tnotify_fd\t\
         state=YmFzZQo=\n"
    )
}

const KEEPALIVE_SECS: u32 = 2;
/// Behind the head and the words of an image.
const DATA_AT: usize = 4096 + 64;
