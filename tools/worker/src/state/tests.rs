use torpor_store::MailboxName;

use super::*;
use crate::limits::RECENT_RANGES_MAX;

fn example() -> State {
    State {
        features: Features { condstore: true, qresync: true },
        selected: Some(SelectedState {
            name: "Lists.rust".into(),
            examine: true,
            uid_validity: 1_795_445_067,
            uid_next: 300,
            count: 128,
            modseq: 0x1_0000_0000,
            uids_crc: 0xDEAD_BEEF,
            keywords: 2,
            recent: [5..=9, 298..=298].into_iter().collect(),
        }),
    }
}

#[test]
fn the_bytes_are_those_of_version_1() {
    // A sleeper of today has to be woken by tomorrow's worker.
    let golden = [
        &[0x01, 0x03, b'S', 0x24, 0x01, 0xEF, 0xBE, 0xAD, 0xDE][..],
        &[0xCB, 0xA2, 0x91, 0xD8, 0x06, 0xAC, 0x02, 0x80, 0x01, 0x02],
        &[0x80, 0x80, 0x80, 0x80, 0x10, 0x02, 0x05, 0x04, 0xA1, 0x02, 0x00],
        b"Lists.rust",
    ]
    .concat();
    assert_eq!(format!("{:02x?}", example().to_bytes()), format!("{golden:02x?}"));
    assert_eq!(State::from_bytes(&golden), Ok(example()));
    assert_eq!(State::default().to_bytes(), [0x01, 0x00]);
    assert_eq!(State::from_bytes(&[0x01, 0x00]), Ok(State::default()));
}

#[test]
fn foreign_and_cut_states_are_refused() {
    let bytes = example().to_bytes();
    for end in 0..bytes.len() {
        // A state that ends between two blocks is a whole one.
        assert_eq!(State::from_bytes(&bytes[..end]).is_ok(), end == 2, "{end}");
    }
    let refused = [
        (&b"\x02\x00"[..], StateError::Version(2)),
        (b"base\nBINBOX", StateError::Version(b'b')),
        (b"\x01\x04", StateError::Unknown(4)),
        (b"\x01\x00N\x00", StateError::Unknown(b'N')),
        (b"\x01\x00S\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", StateError::Damaged("block length")),
    ];
    for (bytes, error) in refused {
        assert_eq!(State::from_bytes(bytes), Err(error));
    }
}

#[test]
fn any_changed_byte_is_read_or_refused() {
    let bytes = example().to_bytes();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Ok(state) = State::from_bytes(&changed) {
                assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
            }
        }
    }
}

#[test]
fn the_largest_state_is_small() {
    let step = u32::MAX / RECENT_RANGES_MAX as u32;
    let range = |number: u32| number * step + 1..=number * step + step / 2;
    let largest = State {
        selected: Some(SelectedState {
            name: "x".repeat(MailboxName::BYTES_MAX),
            uid_validity: u32::MAX,
            uid_next: u32::MAX,
            count: u32::MAX,
            modseq: u64::MAX,
            keywords: 56,
            recent: (0..RECENT_RANGES_MAX as u32).map(range).collect(),
            ..SelectedState::default()
        }),
        ..State::default()
    };
    let bytes = largest.to_bytes();
    assert_eq!(State::from_bytes(&bytes), Ok(largest));
    assert!((350..=380).contains(&bytes.len()), "{}", bytes.len());
}

#[test]
fn every_number_goes_round() {
    for number in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]).chain([u64::MAX]) {
        let mut bytes = Vec::new();
        push(&mut bytes, number);
        let mut reader = Reader(&bytes);
        assert_eq!((reader.number("n"), reader.0), (Ok(number), &[][..]));
    }
}
