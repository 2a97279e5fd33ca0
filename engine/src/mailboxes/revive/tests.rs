use super::super::tests::{mailboxes, wds};
use super::super::{Changed, Debounce};
use super::*;
use crate::image::{HEAD_BYTES, LINE_BYTES};

const MAX: u32 = 8;
const DEBOUNCE: Debounce = Debounce { window_ms: 100, delay_ms_max: 1000 };

/// Five sleep on mailboxes of their own with the watches 1 and 2, 3 and 4, ..., the last of which
/// has three.
fn scene() -> (Mailboxes, Slots, Vec<u32>) {
    let mut slots = Slots::for_test(MAX);
    let all: Vec<u32> = (0..5).map(|_| slots.claim().expect("free")).collect();
    let mut mailboxes = mailboxes(MAX);
    for (slot, wds) in all.iter().zip([&[1, 2][..], &[3, 4], &[5, 6], &[7, 8], &[9, 10, 11]]) {
        assert!(mailboxes.join(&mut slots, *slot, wds, false));
    }
    commit(&mut mailboxes, &mut slots);
    (mailboxes, slots, all)
}

fn commit(mailboxes: &mut Mailboxes, slots: &mut Slots) {
    mailboxes.seal();
    mailboxes.begin(slots.commit());
}

/// What the heir of this engine has, and who is left of those who slept on mailboxes.
fn heir(
    mailboxes: Mailboxes,
    slots: &mut Slots,
    all: &[u32],
    edit: impl FnOnce(&mut Map),
) -> (Mailboxes, Vec<u32>) {
    let mut map = mailboxes.into_map();
    edit(&mut map);
    let mut heir = Mailboxes::revive(MAX, map, slots.committed(), 0).expect("ours");
    let mut left = all.to_vec();
    left.retain(|slot| slots[*slot].mailbox != NIL && heir.rejoin(slots, *slot));
    heir.settle();
    (heir, left)
}

/// Who is owed a wake, in order, and the watches that are let go.
fn owed(mailboxes: &mut Mailboxes, slots: &mut Slots) -> (Vec<u32>, Vec<i32>) {
    let (mut woken, mut released) = (Vec::new(), Vec::new());
    while let Some(changed) = mailboxes.next_changed() {
        match changed {
            Changed::Sleeper(slot) => {
                woken.push(slot);
                mailboxes.leave(slots, slot);
            }
            Changed::Empty(all) => released.extend(wds(all)),
        }
    }
    (woken, released)
}

#[test]
fn an_heir_owes_nobody_a_wake_and_hears_everybody() {
    let (mut mailboxes, mut slots, all) = scene();
    let (also, never) = (slots.claim().expect("free"), slots.claim().expect("free"));
    assert!(mailboxes.join(&mut slots, also, &[1, 2], false));
    commit(&mut mailboxes, &mut slots);
    // A step that was not committed.
    assert!(mailboxes.join(&mut slots, never, &[12], false));
    slots[never].mailbox = NIL;
    let everybody = [all.as_slice(), &[also]].concat();
    let (mut mailboxes, left) = heir(mailboxes, &mut slots, &everybody, |_| {});
    assert_eq!((left.as_slice(), mailboxes.count()), (everybody.as_slice(), 5));
    assert_eq!(owed(&mut mailboxes, &mut slots), (vec![], vec![]));
    assert!(!mailboxes.knows(12) && mailboxes.stir(11, 1, Debounce::NONE));
    assert!(mailboxes.stir(2, 1, Debounce::NONE));
    assert_eq!(
        owed(&mut mailboxes, &mut slots),
        (vec![all[4], also, all[0]], vec![9, 10, 11, 1, 2])
    );
    for slot in &all[1..4] {
        assert_eq!(wds(mailboxes.leave(&mut slots, *slot)).len(), 2);
    }
    assert_eq!((mailboxes.count(), mailboxes.by_watch.len()), (0, 0));
    for (slot, wd) in all.iter().chain([&also, &never]).zip(20..) {
        assert!(mailboxes.join(&mut slots, *slot, &[wd], false), "every node is free again");
    }
}

#[test]
fn what_nobody_has_heard_of_meanwhile_has_changed() {
    let (mut mailboxes, mut slots, all) = scene();
    let [polled, marked] = [(); 2].map(|()| slots.claim().expect("free"));
    assert!(mailboxes.join(&mut slots, polled, &[12], true));
    assert!(mailboxes.join(&mut slots, marked, &[crate::watch::MARKED_MIN], false));
    assert!(mailboxes.stir(1, 5, Debounce::NONE), "owed a wake");
    assert!(mailboxes.stir(3, 5, DEBOUNCE), "and soon");
    commit(&mut mailboxes, &mut slots);
    // He has gone, and the watches with him, which nobody has let go of yet.
    slots[all[2]].mailbox = NIL;
    let everybody = [all.as_slice(), &[polled, marked]].concat();
    let (mut mailboxes, left) = heir(mailboxes, &mut slots, &everybody, |_| {});
    assert_eq!(left.len(), 6);
    let (mut woken, mut released) = owed(&mut mailboxes, &mut slots);
    woken.sort_unstable();
    released.sort_unstable();
    assert_eq!(woken, [all[0], all[1], polled, marked]);
    assert_eq!(released, [1, 2, 3, 4, 5, 6, 12, crate::watch::MARKED_MIN]);
    assert_eq!(mailboxes.count(), 2);
}

/// Three nodes lie in a line: it costs those three, and nobody else, whichever bit has flipped.
#[test]
fn a_damaged_line_costs_the_mailboxes_in_it() {
    for bit in 0..8 * LINE_BYTES {
        let (mailboxes, mut slots, all) = scene();
        let at = HEAD_BYTES + LINE_BYTES;
        let (mut mailboxes, left) =
            heir(mailboxes, &mut slots, &all, |map| map[at + bit / 8] ^= 1 << (bit % 8));
        assert_eq!((left.as_slice(), mailboxes.count()), (&all[3..], 2), "bit {bit}");
        assert_eq!(owed(&mut mailboxes, &mut slots), (vec![], vec![]));
        assert!(!mailboxes.knows(1) && mailboxes.knows(7));
        for (slot, wd) in all[..3].iter().zip([1, 3, 5]) {
            assert_eq!(slots[*slot].mailbox, NIL);
            assert!(mailboxes.join(&mut slots, *slot, &[wd, wd + 1], false), "the nodes are free");
        }
    }
}

/// The second line has the head of the last mailbox and its third watch.
#[test]
fn a_mailbox_that_has_lost_a_watch_has_changed() {
    let (mut mailboxes, mut slots, all) = scene();
    let [one, other] = [(); 2].map(|()| slots.claim().expect("free"));
    // Its head lies in the second line, and more of it in the third.
    assert!(mailboxes.join(&mut slots, one, &[7, 12], false));
    assert!(mailboxes.join(&mut slots, other, &[12, 13], false));
    commit(&mut mailboxes, &mut slots);
    let at = HEAD_BYTES + 3 * LINE_BYTES;
    let everybody = [all.as_slice(), &[one, other]].concat();
    let (mut mailboxes, left) = heir(mailboxes, &mut slots, &everybody, |map| map[at] ^= 1);
    assert_eq!(left, everybody);
    let (woken, released) = owed(&mut mailboxes, &mut slots);
    assert_eq!((woken, released), (vec![other, one, all[3]], vec![7, 8]));
}

#[test]
fn memory_that_others_have_written_to_since_is_not_believed() {
    for damage in [None, Some(0), Some(20), Some(HEAD_BYTES), Some(HEAD_BYTES + 8)] {
        let (mailboxes, mut slots, all) = scene();
        let mut map = mailboxes.into_map();
        let owner = u32::from(damage.is_none());
        damage.into_iter().for_each(|at| map[at] ^= 1);
        let mut heir = Mailboxes::revive(MAX, map, slots.committed(), owner).expect("of its size");
        let knows = all.iter().filter(|slot| heir.rejoin(&mut slots, **slot)).count();
        heir.settle();
        // Where there is one node more than there was, nothing is in it.
        assert_eq!(knows, if damage == Some(HEAD_BYTES) { 5 } else { 0 }, "{damage:?}");
    }
    let map = Map::memory("test", 4096).expect("memory");
    assert!(Mailboxes::revive(MAX, map, 1, 0).is_err(), "too small");
}
