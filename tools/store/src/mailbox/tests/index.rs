//! The index that is damaged, lost, full or of another boot.

use super::*;

#[test]
fn a_damaged_index_is_rebuilt_under_a_new_uidvalidity_and_says_so() {
    let ground = Ground::new();
    let mut old = ground.inbox();
    append(&mut old, "one");
    append(&mut old, "two");
    old.expunge(&[1]).expect("an expunge");
    let mut bytes = fs::read(ground.path("torpor.index")).expect("the index");
    bytes[20] ^= 1;
    fs::write(ground.path("torpor.index"), &bytes).expect("a damaged index");
    let new = ground.inbox();
    assert!(new.uid_validity() > old.uid_validity());
    assert!(new.rebuilt().expect("a reason").contains("checksum of the header"));
    assert_eq!(text(&new, 1), "two");
    assert_eq!(fs::read(ground.path("torpor.index.damaged")).expect("kept aside"), bytes);
    assert!(matches!(old.refresh(), Err(StoreError::Damaged { .. })));
    assert!(matches!(old.expunge(&[2]), Err(StoreError::Damaged { .. })));
    assert_eq!(text(&new, 1), "two");
    assert_eq!(ground.inbox().rebuilt(), None);
}

#[test]
fn a_lost_index_is_begun_under_a_new_uidvalidity() {
    let ground = Ground::new();
    let mut old = ground.inbox();
    append(&mut old, "one");
    fs::remove_file(ground.path("torpor.index")).expect("a removal");
    assert!(matches!(old.refresh(), Err(StoreError::Damaged { .. })));
    let new = ground.inbox();
    assert!(new.uid_validity() > old.uid_validity());
    assert_eq!(text(&new, 1), "one");
}

#[test]
fn flags_of_keywords_that_nobody_named_are_not_kept() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    let wild = Flags(u64::MAX);
    let uid = mailbox.append(&mut &b"x"[..], 1, wild, None).expect("an append");
    assert_eq!(flags(&mailbox, uid), Flags::SYSTEM);
    mailbox.change_flags(&[uid], FlagChange::Replace, wild, None).expect("a change");
    assert_eq!(flags(&mailbox, uid), Flags::SYSTEM);
}

#[test]
fn a_mailbox_takes_so_many_keywords_and_no_more() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    for n in 0..Flags::KEYWORDS_MAX {
        assert_eq!(mailbox.keyword(&format!("k{n}")).expect("no error"), Some(n as u8));
    }
    assert_eq!(mailbox.keyword("one-more").expect("no error"), None);
    assert_eq!(mailbox.keyword("K7").expect("no error"), Some(7));
    assert!(matches!(mailbox.keyword(&"x".repeat(500)), Err(StoreError::TooMany { .. })));
}

#[test]
fn old_files_in_tmp_are_swept_away_and_young_ones_stay() {
    let ground = Ground::new();
    for (name, hours) in [("old", 37), ("young", 35)] {
        let file = fs::File::create(ground.path("tmp").join(name)).expect("a file");
        let time = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        file.set_modified(time).expect("another time");
    }
    ground.inbox();
    assert_eq!(ground.names("tmp"), ["young"]);
}

/// A power failure may take back what did not wait for the disk: numbers that clients were told.
#[test]
fn under_another_boot_numbers_that_may_be_lost_are_skipped_once() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    append(&mut mailbox, "one");
    assert_eq!(mailbox.uid_next(), 2, "a new mailbox skips nothing");
    let modseq = mailbox.highest_modseq();
    let mut batch = Batch::default();
    batch.booted(7);
    mailbox.index.commit(&mailbox.folder, &mut batch, Reach::Cache).expect("a commit");
    let mut other = ground.inbox();
    assert_eq!(other.uid_next(), 2 + boot::SKIPPED_UIDS);
    assert_eq!(other.highest_modseq(), modseq + boot::SKIPPED_MODSEQS);
    assert_eq!(append(&mut other, "two"), 2 + boot::SKIPPED_UIDS);
    assert_eq!(ground.inbox().uid_next(), 3 + boot::SKIPPED_UIDS, "once");
    assert_agree(&mut mailbox, &mut other);
}
