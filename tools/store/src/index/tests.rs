//! The index file cut off, damaged and rewritten, without any message file beside it.

use std::fs;
use std::path::PathBuf;

use super::commit::SLACK_BYTES;
use super::*;
use crate::Flags;
use crate::file_name::Letters;

/// A folder with an index of a few transactions, and what was known after each.
struct Ground {
    root: tempfile::TempDir,
    folder: Folder,
    /// Where each ends, and the table then.
    states: Vec<(u64, String)>,
}

impl Ground {
    fn new() -> Ground {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::open(root.path()).expect("a folder");
        let mut index = Index::create(&folder, 77).expect("an index");
        let begun = size_of::<Header>() as u64;
        let mut states = vec![(begun, told(&index)), (index.end, told(&index))];
        for round in 1..ROUNDS {
            let mut batch = Batch::default();
            transaction(round, &mut batch);
            index.commit(&folder, &mut batch, Reach::Cache).expect("a commit");
            states.push((index.end, told(&index)));
        }
        Ground { root, folder, states }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join(FILE)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).expect("the index")
    }

    /// Loads an index of these bytes, from a new file.
    fn loaded(&self, bytes: &[u8]) -> Result<Index, StoreError> {
        fs::remove_file(self.path()).expect("the old index");
        fs::write(self.path(), bytes).expect("another index");
        Ok(Index::load(&self.folder)?.expect("it is there"))
    }
}

/// One frame each, so that every prefix of frames is one of the states.
fn transaction(round: u32, batch: &mut Batch) {
    let modseq = u64::from(round) + 1;
    let named = (&b"1.base"[..], Flags::SEEN, Letters(Letters::IN_NEW));
    match round {
        // Every index begins with it.
        0 => batch.booted(crate::boot::id()),
        1 => batch.keyword("$Label"),
        2 => (1..=3).for_each(|uid| batch.arrived(uid, modseq, named)),
        3 => batch.changed(2, modseq, Flags::DRAFT | Flags::of_keyword(0), Letters::default()),
        4 => batch.expunged(1, 2, modseq),
        5 => batch.counters(9, 5, modseq),
        _ => batch.scanned(Scanned { new_ns: 5.into(), cur_ns: 6.into() }),
    }
}

const ROUNDS: u32 = 7;

/// All that a table knows, but for where it has it from.
fn told(index: &Index) -> String {
    let table = &index.table;
    let message = |message: &Message| {
        let base = index.base(message).expect("a base");
        (message.uid, message.flags, message.modseq, message.letters(), base)
    };
    let messages: Vec<_> = table.messages.iter().map(message).collect();
    let counters = (table.uid_next, table.recent_next, table.highest_modseq);
    let gone = table.gone.since(0);
    format!("{messages:?} {gone:?} {:?} {counters:?} {:?}", table.keywords, table.scanned)
}

#[test]
fn a_tail_cut_off_at_any_byte_costs_only_its_own_frame() {
    let ground = Ground::new();
    let whole = ground.bytes();
    let Some((end, last)) = ground.states.last() else { unreachable!() };
    assert_eq!(whole.len() as u64, *end);
    for cut in size_of::<Header>()..=whole.len() {
        let mut index = ground.loaded(&whole[..cut]).expect("an index");
        let before = ground.states.iter().rposition(|(end, _)| *end <= cut as u64);
        let before = before.expect("the header is there");
        assert_eq!(told(&index), ground.states[before].1, "cut at {cut}");
        // The next writer cuts the tail away, and what it and all after it write can be read.
        for round in before as u32..ROUNDS {
            let mut batch = Batch::default();
            transaction(round, &mut batch);
            index.commit(&ground.folder, &mut batch, Reach::Cache).expect("a commit");
        }
        let again = Index::load(&ground.folder).expect("an index").expect("it is there");
        assert_eq!(&told(&again), last, "cut at {cut}");
        assert_eq!(ground.bytes(), whole, "cut at {cut}");
    }
}

#[test]
fn a_header_cut_off_at_any_byte_is_damage() {
    let ground = Ground::new();
    let whole = ground.bytes();
    for cut in 0..size_of::<Header>() {
        let loaded = ground.loaded(&whole[..cut]);
        assert!(matches!(loaded, Err(StoreError::Damaged { .. })), "cut at {cut}");
    }
}

/// A shorter log would be taken for the whole one, and its UIDs given out again.
#[test]
fn any_bit_that_flips_is_damage_and_never_a_shorter_log() {
    let ground = Ground::new();
    let whole = ground.bytes();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let loaded = ground.loaded(&bytes);
        assert!(matches!(loaded, Err(StoreError::Damaged { .. })), "at {at}: {loaded:?}");
    }
}

#[test]
fn a_hole_at_the_end_is_a_tail_and_one_before_the_end_is_damage() {
    let ground = Ground::new();
    let whole = ground.bytes();
    for zeros in [1, 15, 16, 17, 4096, 10_000] {
        let index = ground.loaded(&[&whole[..], &vec![0; zeros]].concat()).expect("an index");
        assert_eq!(told(&index), ground.states[ROUNDS as usize].1);
    }
    let torn = [&whole[..], &[0; 5000], &[1]].concat();
    assert!(matches!(ground.loaded(&torn), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_frame_that_no_writer_writes_is_damage() {
    let ground = Ground::new();
    let whole = ground.bytes();
    type Write = fn(&mut Batch);
    let wrong: [(&str, Write); 6] = [
        ("a change of an unknown UID", |batch| {
            batch.changed(8, 9, Flags::SEEN, Letters::default())
        }),
        ("an entry of a frame", |batch| batch.expunged(4, 3, 9)),
        ("an entry of a frame", |batch| batch.expunged(1, 9, 9)),
        ("a modseq", |batch| batch.counters(1, 1, u64::MAX)),
        ("an entry of a frame", |batch| {
            batch.arrived(u32::MAX, 9, (&b"x"[..], Flags::SEEN, Letters::default()));
        }),
        ("a UID twice", |batch| {
            batch.arrived(3, 9, (&b"x"[..], Flags::SEEN, Letters::default()));
        }),
    ];
    for (reason, write) in wrong {
        let mut batch = Batch::default();
        write(&mut batch);
        match ground.loaded(&[&whole[..], batch.finish()].concat()) {
            Err(StoreError::Damaged { why, .. }) => assert_eq!(why, reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn a_log_that_grows_is_rewritten_and_other_handles_follow() {
    let ground = Ground::new();
    let mut index = Index::load(&ground.folder).expect("an index").expect("it is there");
    let mut other = Index::load(&ground.folder).expect("an index").expect("it is there");
    let identity = other.identity;
    let kept = |index: &Index| {
        let table = &index.table;
        (table.uid_next, table.recent_next, table.keywords.clone(), table.gone.since(0))
    };
    let before = kept(&index);
    assert_eq!((before.0, before.1), (9, 5), "no message tells these");
    let mut modseq = index.table.highest_modseq;
    while index.identity == identity {
        modseq += 1;
        let mut batch = Batch::default();
        let flags = if modseq.is_multiple_of(2) { Flags::SEEN } else { Flags::DRAFT };
        batch.changed(3, modseq, flags, Letters::default());
        index.commit(&ground.folder, &mut batch, Reach::Cache).expect("a commit");
        assert!(index.end < 3 * SLACK_BYTES, "it never ends");
    }
    assert!(index.end < 1000, "{} bytes", index.end);
    assert_eq!(kept(&index), before);
    assert!(other.is_behind(&ground.folder).expect("a stat"));
    other.catch_up(&ground.folder).expect("what was written");
    assert_eq!(told(&other), told(&index));
    assert_eq!(other.table.messages[0].modseq, modseq);
    assert_eq!(other.uid_validity(), 77);
}

/// A frame is read into a buffer of fixed size.
#[test]
fn large_transactions_become_several_frames() {
    let ground = Ground::new();
    let mut index = Index::load(&ground.folder).expect("an index").expect("it is there");
    let mut batch = Batch::default();
    for uid in 10..5010 {
        batch.arrived(uid, 9, (&[b'x'; 200], Flags::default(), Letters::default()));
    }
    index.commit(&ground.folder, &mut batch, Reach::Cache).expect("a commit");
    let again = Index::load(&ground.folder).expect("an index").expect("it is there");
    assert_eq!(told(&again), told(&index));
    assert_eq!(again.table.messages.len(), 5001);
}

/// Frames with right checksums and any content: what a broken disk or a curious user may leave.
#[test]
fn no_content_of_a_frame_can_stop_a_reader() {
    let ground = Ground::new();
    let whole = ground.bytes();
    let mut state = 1_u64;
    let mut chance = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % bound
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..3000 {
        let kind = chance(9) as u8;
        // Mostly small numbers, since those mean something.
        let payload: Vec<u8> = (0..[16, 24, 25 + 3, 48, chance(80)][chance(5) as usize])
            .map(|_| if chance(4) == 0 { chance(256) as u8 } else { chance(3) as u8 })
            .collect();
        let payload_crc = crc32fast::hash(&payload).into();
        let length = (payload.len() as u32).into();
        let mut header = FrameHeader { length, kind, reserved: [0; 3], payload_crc, crc: 0.into() };
        header.crc = crc32fast::hash(&header.as_bytes()[..12]).into();
        match ground.loaded(&[&whole[..], header.as_bytes(), &payload].concat()) {
            Ok(index) => {
                told(&index);
                taken += 1;
            }
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}
