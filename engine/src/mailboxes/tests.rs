use super::*;

fn sleepers(count: u32) -> (Slots, Vec<u32>) {
    let mut slots = Slots::for_test(count);
    let all = (0..count).map(|_| slots.claim().expect("free")).collect();
    (slots, all)
}

/// The watches that are none are left out.
fn wds(all: Wds) -> Vec<i32> {
    all.into_iter().filter(|wd| *wd >= 0).collect()
}

#[test]
fn one_entry_for_all_who_sleep_on_a_mailbox() {
    let (mut slots, all) = sleepers(3);
    let mut mailboxes = Mailboxes::new(4);
    for slot in &all {
        assert!(mailboxes.join(&mut slots, *slot, &[1, 2]));
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
    let mut mailboxes = Mailboxes::new(4);
    for slot in &all {
        assert!(mailboxes.join(&mut slots, *slot, &[5]));
    }
    assert!(mailboxes.mark_changed(5) && mailboxes.mark_changed(5));
    assert!(!mailboxes.mark_changed(6));
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
    let mut mailboxes = Mailboxes::new(2);
    assert!(mailboxes.join(&mut slots, all[0], &[1]));
    assert!(mailboxes.join(&mut slots, all[1], &[2]));
    assert!(!mailboxes.join(&mut slots, all[2], &[1, 2]), "of two mailboxes");
    assert!(!mailboxes.join(&mut slots, all[2], &[3]), "no room");
    assert!(mailboxes.join(&mut slots, all[2], &[1, 3]), "grows");
    mailboxes.mark_all_changed();
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
    let mut mailboxes = Mailboxes::new(4);
    for (slot, wds) in all.iter().zip([[1, 2, 3], [3, 4, 5], [5, 6, 7], [7, 8, 1]]) {
        assert!(mailboxes.join(&mut slots, *slot, &wds));
    }
    assert_eq!(mailboxes.count(), 1);
    assert!(!mailboxes.join(&mut slots, all[4], &[8, 9]), "one too many");
    assert!(!mailboxes.join(&mut slots, all[4], &[9]), "all four nodes are used");
    assert!((1..=8).all(|wd| mailboxes.knows(wd)) && !mailboxes.knows(9));
    mailboxes.mark_all_changed();
    assert!(mailboxes.mark_changed(8), "of the same mailbox");
    for _ in 0..4 {
        let Some(Changed::Sleeper(slot)) = mailboxes.next_changed() else { panic!("four sleep") };
        assert_eq!(mailboxes.leave(&mut slots, slot), NO_WDS);
    }
    let Some(Changed::Empty(all_wds)) = mailboxes.next_changed() else { panic!("it is empty") };
    assert_eq!(wds(all_wds), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((mailboxes.next_changed(), mailboxes.by_watch.len()), (None, 0));
    for (slot, wd) in all.iter().zip(11..15) {
        assert!(mailboxes.join(&mut slots, *slot, &[wd]), "every node is free again");
    }
}
