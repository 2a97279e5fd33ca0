//! Other programs at the files of a mailbox.

use super::*;

#[test]
fn changes_by_other_programs_are_taken_in() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    for name in ["cur/1.a:2,", "cur/2.b:2,S", "cur/3.c:2,", "new/4.d"] {
        ground.deliver(name, name);
    }
    refreshed(&mut mailbox);
    let before = mailbox.highest_modseq();
    fs::rename(ground.path("cur/1.a:2,"), ground.path("cur/1.a:2,RT")).expect("a rename");
    fs::remove_file(ground.path("cur/2.b:2,S")).expect("a removal");
    fs::rename(ground.path("new/4.d"), ground.path("cur/4.d:2,")).expect("a rename");
    refreshed(&mut mailbox);
    assert_eq!(uids(&mailbox), [1, 3, 4]);
    assert_eq!(mailbox.highest_modseq(), before + 1);
    assert_eq!(mailbox.find(1).expect("one").modseq, before + 1);
    assert_eq!(flags(&mailbox, 1), Flags::ANSWERED | Flags::DELETED);
    assert_eq!(mailbox.find(4).expect("four").modseq, before, "it only moved");
    assert_eq!(mailbox.expunged_since(before), [2..=2]);
    assert_eq!(text(&mailbox, 4), "new/4.d");
    assert_agree(&mut mailbox, &mut ground.inbox());
}

/// The handle has not looked since another program changed the names.
#[test]
fn stale_names_are_looked_up_and_foreign_flags_are_kept() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    for name in ["cur/1.a:2,", "cur/2.b:2,", "cur/3.c:2,", "cur/4.d:2,"] {
        ground.deliver(name, name);
    }
    refreshed(&mut mailbox);
    fs::rename(ground.path("cur/1.a:2,"), ground.path("cur/1.a:2,R")).expect("a rename");
    assert_eq!(text(&mailbox, 1), "cur/1.a:2,");
    mailbox.change_flags(&[1], FlagChange::Add, Flags::SEEN, None).expect("a change");
    assert_eq!(flags(&mailbox, 1), Flags::ANSWERED | Flags::SEEN);
    fs::rename(ground.path("cur/2.b:2,"), ground.path("cur/2.b:2,F")).expect("a rename");
    let mut work = ground.made("Work");
    assert_eq!(mailbox.copy(&[2], &mut work, true).expect("a move"), [(2, 1)]);
    assert_eq!(flags(&work, 1), Flags::FLAGGED);
    fs::remove_file(ground.path("cur/3.c:2,")).expect("a removal");
    assert!(matches!(mailbox.open_message(3), Err(StoreError::Expunged)));
    fs::rename(ground.path("cur/4.d:2,"), ground.path("cur/4.d:2,D")).expect("a rename");
    assert_eq!(mailbox.expunge(&[3, 4]).expect("an expunge"), [4]);
    assert!(refreshed(&mut mailbox).messages().iter().all(|message| message.uid == 1));
}

#[test]
fn letters_of_other_programs_are_kept_and_put_in_order() {
    let ground = Ground::new();
    ground.deliver("cur/1.a:2,Pb", "one");
    ground.deliver("cur/2.b:2,Sa9F", "two");
    let mut mailbox = ground.inbox();
    assert_eq!(text(&mailbox, 2), "two");
    mailbox.change_flags(&[1, 2], FlagChange::Add, Flags::DRAFT, None).expect("a change");
    assert_eq!(ground.names("cur"), ["1.a:2,DPb", "2.b:2,DFSa"]);
}

#[test]
fn of_two_files_with_one_base_one_is_the_message_and_both_stay() {
    let ground = Ground::new();
    ground.deliver("cur/1.a:2,S", "one");
    let mut mailbox = ground.inbox();
    ground.deliver("cur/1.a:2,F", "other");
    ground.deliver("new/1.a", "third");
    let modseq = refreshed(&mut mailbox).highest_modseq();
    assert_eq!(flags(&mailbox, 1), Flags::SEEN);
    assert_eq!(refreshed(&mut mailbox).highest_modseq(), modseq, "no flapping");
    ground.settle();
    refreshed(&mut mailbox);
    ground.deliver("new/2.b", "next");
    assert_eq!(refreshed(&mut mailbox).messages().len(), 2);
    assert_eq!(flags(&mailbox, 1), Flags::SEEN, "though only new/ was read");
    assert_eq!((ground.names("cur").len(), ground.names("new").len()), (2, 2));
}

/// Whatever hides a name from the first look: only what the second misses too has gone.
#[test]
fn a_message_is_not_gone_because_one_look_missed_it() {
    let ground = Ground::new();
    ground.deliver("new/1.a", "one");
    let mut mailbox = ground.inbox();
    ground.settle();
    refreshed(&mut mailbox);
    fs::rename(ground.path("new/1.a"), ground.path("cur/1.a:2,S")).expect("a rename");
    let cur = fs::File::open(ground.path("cur")).expect("a folder");
    let stamp = SystemTime::UNIX_EPOCH
        + Duration::from_nanos(mailbox.settled.expect("it was settled").cur_ns as u64);
    cur.set_modified(stamp).expect("as if cur/ had not changed");
    assert_eq!(uids(refreshed(&mut mailbox)), [1]);
    assert_eq!(flags(&mailbox, 1), Flags::SEEN);
    assert_eq!(mailbox.expunged_since(0), []);
}

#[test]
fn a_refresh_reads_no_folder_once_they_are_settled() {
    let ground = Ground::new();
    append(&mut ground.inbox(), "one");
    let mut mailbox = ground.inbox();
    ground.settle();
    refreshed(&mut mailbox);
    assert!(mailbox.settled.is_some());
    let other = ground.inbox();
    assert_eq!(other.settled, None, "it relied on the look that the index tells of");
    assert!(other.index.table.scanned.is_some());
}

#[test]
fn a_vanished_or_moved_maildir_is_an_error() {
    let ground = Ground::new();
    let mut work = ground.made("Work");
    let uid = append(&mut work, "one");
    fs::rename(ground.path(".Work"), ground.path(".Moved")).expect("a rename");
    assert!(matches!(work.refresh(), Err(StoreError::NotFound)));
    fs::remove_dir_all(ground.path(".Moved")).expect("a removal");
    assert!(work.refresh().is_err());
    assert!(work.open_message(uid).is_err());
    assert!(work.change_flags(&[uid], FlagChange::Add, Flags::SEEN, None).is_err());
    assert!(work.expunge(&[uid]).is_err());
    let size = 3;
    assert!(work.append(&mut &b"two"[..], size, Flags::default(), None).is_err());
    assert!(work.keyword("x").is_err());
    let mut inbox = ground.inbox();
    append(&mut inbox, "x");
    assert!(inbox.copy(&[1], &mut work, true).is_err());
    assert_eq!(uids(refreshed(&mut inbox)), [1]);
    assert_eq!(text(&inbox, 1), "x");
}
