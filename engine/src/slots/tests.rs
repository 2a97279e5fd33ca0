use super::*;

fn slots(slots_max: u32) -> Slots {
    Slots::for_test(slots_max)
}

#[test]
fn a_slot_is_let_again_under_a_new_generation() {
    let mut slots = slots(2);
    let (first, second) = (slots.claim().expect("free"), slots.claim().expect("free"));
    assert_ne!(first, second);
    assert_eq!(slots.claim(), None);
    let generation = slots[first].generation;
    slots.release(first);
    assert!(!slots.is_current(first, generation));
    assert_eq!(slots.claim(), Some(first));
    assert_ne!(slots[first].generation, generation);
    assert_eq!(slots.used(), 2);
    assert!(!slots.is_current(first, generation), "its tenant has left");
    assert!(!slots.is_current(2, 0), "a slot that was never claimed");
}

#[test]
#[should_panic(expected = "released with something in flight")]
fn a_slot_in_flight_is_never_released() {
    let mut slots = slots(1);
    let slot = slots.claim().expect("free");
    slots[slot].set(crate::record::Flag::Recv);
    slots.release(slot);
}

/// Who slept when the engine was killed sleeps on; who was torn is free, and nobody else.
#[test]
fn an_heir_finds_the_slots_as_they_were_committed() {
    let mut slots = slots(4);
    let all: Vec<u32> = (0..3).map(|_| slots.claim().expect("free")).collect();
    for slot in &all {
        (slots[*slot].state, slots[*slot].cold) = (State::Offered as u8, 1);
    }
    slots.set_ledger(Ledger { ring: 7, applied: 8, handoffs: 9, conn_generation: 10 });
    slots.commit();
    (slots[all[1]].state, slots[all[1]].cold) = (State::Free as u8, NIL);
    slots.release(all[1]);
    slots.set_ledger(Ledger::default());
    let (mut slots, limits, damaged) = Slots::revive(slots.into_map()).expect("ours");
    assert_eq!((slots.used(), slots.end(), damaged), (3, 3, vec![]));
    assert_eq!(limits.slots_max, 4);
    let ledger = Ledger { ring: 7, applied: 8, handoffs: 9, conn_generation: 10 };
    assert_eq!(slots.ledger(), ledger);
    slots[all[2]].user_hash ^= 1 << 5;
    slots.image.commit();
    let (mut slots, _, damaged) = Slots::revive(slots.into_map()).expect("ours");
    assert_eq!((slots.used(), damaged), (2, vec![all[2]]));
    assert_eq!(slots.claim(), Some(all[2]));
}

/// As a program has made it that knew of no notes: its clients are kept, and no note is.
#[test]
fn memory_without_room_for_notes_is_taken_over() {
    let map = Map::memory("test", Image::map_bytes(4 * (RECORD_BYTES + SEAL_BYTES)));
    let limits = Limits { slots_max: 4, ..Limits::default() };
    let mut slots = Slots::new(&limits, map.expect("memory"));
    let slot = slots.claim().expect("free");
    (slots[slot].state, slots[slot].cold) = (State::Offered as u8, 1);
    slots.note_awake(0, [7, 7]);
    slots.commit();
    let (mut slots, _, damaged) = Slots::revive(slots.into_map()).expect("ours");
    assert_eq!((slots.used(), slots.end(), damaged), (1, 1, vec![]));
    assert_eq!(slots.take_awake(), [[0; 2]; 0]);
}

/// Limits that are damaged, that cannot work, or that memory has no room for.
#[test]
fn memory_is_never_taken_over_under_limits_that_are_not_its_own() {
    let foreign = |change: fn(&mut Image), is_sealed| {
        let mut slots = slots(4);
        change(&mut slots.image);
        if is_sealed {
            let seal = limits_seal(&limits_of(&slots.image));
            slots.image.set_word(LIMITS_SEAL_WORD, seal);
        }
        slots.commit();
        Slots::revive(slots.into_map()).err()
    };
    let none = |image: &mut Image| image.set_word(LIMITS_WORD, image.word(LIMITS_WORD) & !0xFF);
    let fewer = |image: &mut Image| image.set_word(LIMITS_WORD, image.word(LIMITS_WORD) - 1);
    let many = |image: &mut Image| image.set_word(LIMITS_WORD, image.word(LIMITS_WORD) + (1 << 20));
    assert_eq!(foreign(|_| {}, true), None);
    for (change, is_sealed) in [(none as fn(&mut Image), true), (many, true), (fewer, false)] {
        assert_eq!(foreign(change, is_sealed), Some(Foreign::Size(Kind::Records)));
    }
}

/// Its seal is good, and no engine of ours has such a state.
#[test]
fn a_record_that_cannot_be_is_damaged() {
    let mut slots = slots(2);
    let [slot, other] = [(); 2].map(|()| slots.claim().expect("free"));
    (slots[slot].state, slots[slot].cold) = (99, 1);
    (slots[other].state, slots[other].cold) = (State::Offered as u8, 1);
    slots.commit();
    let (slots, _, damaged) = Slots::revive(slots.into_map()).expect("ours");
    assert_eq!((slots.used(), damaged), (1, vec![slot]));
}
