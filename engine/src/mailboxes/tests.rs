use super::*;
use crate::image::Image;

fn sleepers(count: u32) -> (Slots, Vec<u32>) {
    let mut slots = Slots::for_test(count);
    let all = (0..count).map(|_| slots.claim().expect("free")).collect();
    (slots, all)
}

pub(super) fn mailboxes(max: u32) -> Mailboxes {
    let map = Map::memory("test", Image::map_bytes(Nodes::bytes(max))).expect("memory");
    Mailboxes::new(max, map)
}

/// The watches that are none are left out.
pub(super) fn wds(all: Wds) -> Vec<i32> {
    all.into_iter().filter(|wd| *wd >= 0).collect()
}

#[test]
fn one_entry_for_all_who_sleep_on_a_mailbox() {
    let (mut slots, all) = sleepers(3);
    let mut mailboxes = mailboxes(4);
    for slot in &all {
        assert!(mailboxes.join(&mut slots, *slot, &[1, 2], false));
    }
    assert_eq!(mailboxes.count(), 1);
    assert_eq!(mailboxes.leave(&mut slots, all[1]), NO_WDS);
    assert_eq!(mailboxes.leave(&mut slots, all[0]), NO_WDS);
    assert!(mailboxes.knows(1) && mailboxes.knows(2));
    assert_eq!(wds(mailboxes.leave(&mut slots, all[2])), [1, 2]);
    assert_eq!((mailboxes.count(), mailboxes.by_watch.len()), (0, 0));
}

#[test]
fn a_change_wakes_each_sleeper_once_and_then_releases() {
    let (mut slots, all) = sleepers(2);
    let mut mailboxes = mailboxes(4);
    for slot in &all {
        assert!(mailboxes.join(&mut slots, *slot, &[5], false));
    }
    assert!(mailboxes.stir(5, 1, Debounce::NONE) && mailboxes.stir(5, 1, Debounce::NONE));
    assert!(!mailboxes.stir(6, 1, Debounce::NONE));
    let mut woken = Vec::new();
    loop {
        match mailboxes.next_changed() {
            Some(Changed::Sleeper(slot)) => {
                woken.push(slot);
                assert_eq!(mailboxes.leave(&mut slots, slot), NO_WDS);
            }
            Some(Changed::Empty(watches)) => assert_eq!(wds(watches), [5]),
            None => break,
        }
    }
    woken.sort_unstable();
    assert_eq!((woken, mailboxes.count()), (all, 0));
}

#[test]
fn an_overflow_marks_everybody_and_watches_never_belong_to_two() {
    let (mut slots, all) = sleepers(4);
    let mut mailboxes = mailboxes(2);
    assert!(mailboxes.join(&mut slots, all[0], &[1], false));
    assert!(mailboxes.join(&mut slots, all[1], &[2], false));
    assert!(!mailboxes.join(&mut slots, all[2], &[1, 2], false), "of two mailboxes");
    assert!(!mailboxes.join(&mut slots, all[2], &[3], false), "no room");
    assert!(mailboxes.join(&mut slots, all[2], &[1, 3], false), "grows");
    mailboxes.mark_all_changed(Source::Inotify);
    let mut woken = 0;
    while let Some(changed) = mailboxes.next_changed() {
        if let Changed::Sleeper(slot) = changed {
            mailboxes.leave(&mut slots, slot);
            woken += 1;
        }
    }
    assert_eq!((woken, mailboxes.count()), (3, 0));
}

#[test]
fn a_mailbox_gathers_eight_watches_and_gives_all_back() {
    let (mut slots, all) = sleepers(5);
    let mut mailboxes = mailboxes(4);
    for (slot, wds) in all.iter().zip([[1, 2, 3], [3, 4, 5], [5, 6, 7], [7, 8, 1]]) {
        assert!(mailboxes.join(&mut slots, *slot, &wds, false));
    }
    assert_eq!(mailboxes.count(), 1);
    assert!(!mailboxes.join(&mut slots, all[4], &[8, 9], false), "one too many");
    assert!(!mailboxes.join(&mut slots, all[4], &[9], false), "all four nodes are used");
    assert!((1..=8).all(|wd| mailboxes.knows(wd)) && !mailboxes.knows(9));
    mailboxes.mark_all_changed(Source::Inotify);
    assert!(mailboxes.stir(8, 1, Debounce::NONE), "of the same mailbox");
    for _ in 0..4 {
        let Some(Changed::Sleeper(slot)) = mailboxes.next_changed() else { panic!("four sleep") };
        assert_eq!(mailboxes.leave(&mut slots, slot), NO_WDS);
    }
    let Some(Changed::Empty(all_wds)) = mailboxes.next_changed() else { panic!("it is empty") };
    assert_eq!(wds(all_wds), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((mailboxes.next_changed(), mailboxes.by_watch.len()), (None, 0));
    for (slot, wd) in all.iter().zip(11..15) {
        assert!(mailboxes.join(&mut slots, *slot, &[wd], false), "every node is free again");
    }
}

const DEBOUNCE: Debounce = Debounce { window_ms: 100, delay_ms_max: 350 };

/// One sleeper, whose mailbox changes at these times; when it is owed a wake.
fn wake_of(changes: &[u64]) -> u64 {
    let (mut slots, all) = sleepers(1);
    let mut mailboxes = mailboxes(1);
    assert!(mailboxes.join(&mut slots, all[0], &[1], false));
    for now_ms in 0.. {
        if changes.contains(&now_ms) {
            assert!(mailboxes.stir(1, now_ms, DEBOUNCE));
        }
        let due_ms = mailboxes.next_ripe_ms(now_ms, DEBOUNCE);
        mailboxes.ripen(now_ms, DEBOUNCE);
        if mailboxes.has_changed() {
            assert!(due_ms.is_some_and(|due_ms| due_ms <= now_ms), "nobody would have looked");
            assert_eq!(mailboxes.next_changed(), Some(Changed::Sleeper(all[0])));
            return now_ms;
        }
        let due_ms = mailboxes.next_ripe_ms(now_ms, DEBOUNCE);
        assert!(due_ms.is_none_or(|due_ms| due_ms > now_ms), "looked at in vain for ever");
    }
    unreachable!("never woken");
}

#[test]
fn a_burst_wakes_once_it_is_over_and_never_too_late() {
    assert_eq!(wake_of(&[5]), 105, "one change waits for one window");
    assert_eq!(wake_of(&[5, 105]), 205, "what comes at its very end is still of it");
    assert_eq!(wake_of(&[5, 50, 104]), 205, "more came: another window, in which nothing came");
    assert_eq!(wake_of(&[5, 50, 150]), 305);
    let flood: Vec<u64> = (5..2000).collect();
    assert_eq!(wake_of(&flood), 305, "three whole windows of 100 ms fit into 350 ms");
}

#[test]
fn windows_end_in_the_order_in_which_they_were_opened() {
    let (mut slots, all) = sleepers(3);
    let mut mailboxes = mailboxes(3);
    for (slot, wd) in all.iter().zip(1..) {
        assert!(mailboxes.join(&mut slots, *slot, &[wd], false));
    }
    assert!(mailboxes.stir(2, 10, DEBOUNCE) && mailboxes.stir(1, 20, DEBOUNCE));
    assert!(mailboxes.stir(2, 30, DEBOUNCE));
    mailboxes.ripen(110, DEBOUNCE);
    assert!(!mailboxes.has_changed(), "the first has another window");
    mailboxes.ripen(120, DEBOUNCE);
    assert_eq!(mailboxes.next_changed(), Some(Changed::Sleeper(all[0])));
    // Lost events wait for nobody's window, but one that is open already ends as it would have.
    mailboxes.mark_all_changed(Source::Inotify);
    assert_eq!(mailboxes.leave(&mut slots, all[0]), NO_WDS);
    assert!(matches!(mailboxes.next_changed(), Some(Changed::Empty(_))));
    assert_eq!(mailboxes.next_changed(), Some(Changed::Sleeper(all[2])));
    assert_eq!(mailboxes.leave(&mut slots, all[2]), NO_WDS);
    assert!(matches!(mailboxes.next_changed(), Some(Changed::Empty(_))));
    // A sleeper that leaves meanwhile leaves the mailbox to its window.
    assert_eq!(mailboxes.leave(&mut slots, all[1]), NO_WDS);
    assert_eq!((mailboxes.next_changed(), mailboxes.count()), (None, 1));
    mailboxes.ripen(210, DEBOUNCE);
    let Some(Changed::Empty(watches)) = mailboxes.next_changed() else { panic!("it is empty") };
    assert_eq!((wds(watches), mailboxes.count()), (vec![2], 0));
}

#[test]
fn an_overflow_is_that_of_one_source() {
    let (mut slots, all) = sleepers(3);
    let mut mailboxes = mailboxes(6);
    let marked = crate::watch::MARKED_MIN;
    for (slot, wds) in all.iter().zip([[1, 2], [marked, marked + 1], [3, marked + 2]]) {
        assert!(mailboxes.join(&mut slots, *slot, &wds, false));
    }
    for (source, owed) in [(Source::Marks, [1, 2]), (Source::Inotify, [0, 2])] {
        mailboxes.mark_all_changed(source);
        let mut woken = Vec::new();
        while let Some(changed) = mailboxes.next_changed() {
            let Changed::Sleeper(slot) = changed else { continue };
            mailboxes.leave(&mut slots, slot);
            woken.push(slot);
        }
        assert_eq!(woken, owed.map(|at: usize| all[at]), "{source:?}");
        assert!(mailboxes.join(&mut slots, all[2], &[3, marked + 2], false));
    }
}
