//! Mailboxes of a home: made, listed, renamed, deleted.

use std::os::unix::fs::symlink;

use super::*;

fn ground() -> (tempfile::TempDir, Home) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let home = Home::open(&root.path().join("mail")).expect("a home");
    (root, home)
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).expect("a name")
}

fn names(home: &Home) -> Vec<String> {
    home.names().expect("names").iter().map(ToString::to_string).collect()
}

fn append(home: &Home, to: &str, text: &str) -> u32 {
    let mut mailbox = home.open_mailbox(&name(to)).expect("a mailbox");
    let size = text.len() as u64;
    mailbox.append(&mut text.as_bytes(), size, Flags::default(), None).expect("an append")
}

#[test]
fn a_home_begins_with_an_inbox_for_its_user_alone() {
    let (_root, home) = ground();
    assert_eq!(names(&home), ["INBOX"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(home.root()).expect("the root").permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    let status = home.status(&name("inbox")).expect("a status");
    assert_eq!((status.messages, status.uid_next, status.highest_modseq), (0, 1, 1));
}

#[test]
fn mailboxes_are_made_listed_and_deleted_without_their_children() {
    let (_root, home) = ground();
    for text in ["b.c", "b", "a"] {
        home.create(&name(text)).expect("a new mailbox");
    }
    assert!(matches!(home.create(&name("b")), Err(StoreError::Exists)));
    assert!(matches!(home.create(&name("INBOX")), Err(StoreError::Exists)));
    assert_eq!(names(&home), ["INBOX", "a", "b", "b.c"]);
    home.delete(&name("b")).expect("a deletion");
    assert_eq!(names(&home), ["INBOX", "a", "b.c"]);
    assert!(!home.exists(&name("b")) && home.exists(&name("b.c")));
    assert!(matches!(home.delete(&name("b")), Err(StoreError::NotFound)));
    assert!(matches!(home.delete(&name("inbox")), Err(StoreError::Inbox)));
    assert!(matches!(home.open_mailbox(&name("b")), Err(StoreError::NotFound)));
}

#[test]
fn a_mailbox_made_anew_has_a_larger_uidvalidity() {
    let (_root, home) = ground();
    let mut last = home.status(&name("INBOX")).expect("a status").uid_validity;
    for _ in 0..5 {
        home.create(&name("a")).expect("a new mailbox");
        let validity = home.status(&name("a")).expect("a status").uid_validity;
        assert!(validity > last, "{validity} after {last}");
        last = validity;
        home.delete(&name("a")).expect("a deletion");
    }
    // The clock may be set back; the file of the home is what counts.
    fs::write(home.root().join("torpor.uidvalidity"), "4000000000\n").expect("a file");
    home.create(&name("a")).expect("a new mailbox");
    assert_eq!(home.status(&name("a")).expect("a status").uid_validity, 4_000_000_001);
}

#[test]
fn a_rename_takes_children_messages_and_uids_along() {
    let (_root, home) = ground();
    for text in ["a", "a.b", "a.b.c", "ab"] {
        home.create(&name(text)).expect("a new mailbox");
    }
    append(&home, "a.b", "text");
    let before = home.status(&name("a.b")).expect("a status");
    home.rename(&name("a"), &name("z.y")).expect("a rename");
    assert_eq!(names(&home), ["INBOX", "ab", "z.y", "z.y.b", "z.y.b.c"]);
    assert_eq!(home.status(&name("z.y.b")).expect("a status"), before);
    assert!(matches!(home.rename(&name("a"), &name("q")), Err(StoreError::NotFound)));
    assert!(matches!(home.rename(&name("ab"), &name("z.y")), Err(StoreError::Exists)));
    assert!(matches!(home.rename(&name("ab"), &name("INBOX")), Err(StoreError::Exists)));
    assert!(matches!(home.rename(&name("z.y"), &name("z.y.x")), Err(StoreError::BadName { .. })));
    // The parent was never made, but its children can be renamed by it.
    home.rename(&name("z"), &name("k")).expect("a rename");
    assert_eq!(names(&home), ["INBOX", "ab", "k.y", "k.y.b", "k.y.b.c"]);
}

/// RFC 3501 6.3.5.
#[test]
fn renaming_inbox_moves_its_messages_and_leaves_it_empty() {
    let (_root, home) = ground();
    append(&home, "INBOX", "one");
    append(&home, "INBOX", "two");
    home.rename(&name("INBOX"), &name("old")).expect("a rename");
    assert_eq!(home.status(&name("INBOX")).expect("a status").messages, 0);
    assert_eq!(home.status(&name("old")).expect("a status").messages, 2);
    assert_eq!(append(&home, "INBOX", "three"), 3);
}

#[test]
fn subscriptions_are_kept_sorted_and_need_no_mailbox() {
    let (_root, home) = ground();
    for text in ["b", "inbox", "a.x", "b"] {
        home.subscribe(&name(text)).expect("a subscription");
    }
    home.unsubscribe(&name("b")).expect("no error");
    home.unsubscribe(&name("never")).expect("no error");
    let read = |home: &Home| home.subscriptions().expect("a list");
    assert_eq!(read(&home), [name("INBOX"), name("a.x")]);
    fs::write(home.root().join("subscriptions"), "../../etc\nok\n\u{e9}\n").expect("a file");
    assert_eq!(read(&home), [name("ok")]);
}

#[test]
fn links_out_of_the_home_are_no_mailboxes() {
    let (root, home) = ground();
    let outside = root.path().join("outside");
    fs::create_dir_all(outside.join("cur")).expect("a folder");
    symlink(&outside, home.root().join(".link")).expect("a link");
    assert_eq!(names(&home), ["INBOX"]);
    assert!(!home.exists(&name("link")));
    assert!(home.open_mailbox(&name("link")).is_err());
    home.create(&name("a")).expect("a new mailbox");
    fs::remove_dir(home.root().join(".a/cur")).expect("a removal");
    symlink(outside.join("cur"), home.root().join(".a/cur")).expect("a link");
    assert!(home.open_mailbox(&name("a")).is_err());
    symlink("/etc/passwd", home.root().join("new/1.link")).expect("a link");
    assert_eq!(home.status(&name("INBOX")).expect("a status").messages, 0);
}

#[test]
fn what_a_killed_process_left_aside_is_swept_away() {
    let (_root, home) = ground();
    let left = home.root().join("..torpor.1.left");
    fs::create_dir_all(left.join("cur")).expect("a folder");
    assert_eq!(names(&home), ["INBOX"]);
    Home::open(home.root()).expect("a home");
    assert!(!left.exists());
}
