//! One mailbox through one and two handles, with other programs at its files.

mod index;
mod others;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;
use crate::{FlagChange, Flags, Home, MailboxName};

/// A home in a folder of its own, with INBOX.
struct Ground {
    root: tempfile::TempDir,
    home: Home,
}

impl Ground {
    fn new() -> Ground {
        let root = tempfile::tempdir().expect("a temporary folder");
        let home = Home::open(root.path()).expect("a home");
        Ground { root, home }
    }

    fn inbox(&self) -> Mailbox {
        self.home.open_mailbox(&MailboxName::inbox()).expect("INBOX")
    }

    fn made(&self, name: &str) -> Mailbox {
        let name = MailboxName::parse(name).expect("a name");
        self.home.create(&name).expect("a new mailbox");
        self.home.open_mailbox(&name).expect("the mailbox")
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// As another program does it.
    fn deliver(&self, file: &str, text: &str) {
        fs::write(self.path("tmp/x"), text).expect("a file in tmp/");
        fs::rename(self.path("tmp/x"), self.path(file)).expect("a delivered file");
    }

    /// As if nothing had changed for a minute.
    fn settle(&self) {
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        for place in ["new", "cur"] {
            let folder = fs::File::open(self.path(place)).expect("a folder");
            folder.set_modified(long_ago).expect("another time");
        }
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).into_string().expect("a text")).collect();
        names.sort();
        names
    }
}

fn append(mailbox: &mut Mailbox, text: &str) -> u32 {
    let size = text.len() as u64;
    mailbox.append(&mut text.as_bytes(), size, Flags::default(), None).expect("an append")
}

fn text(mailbox: &Mailbox, uid: u32) -> String {
    let bytes = mailbox.open_message(uid).expect("a message").read().expect("its bytes");
    String::from_utf8(bytes).expect("a text")
}

fn uids(mailbox: &Mailbox) -> Vec<u32> {
    mailbox.messages().iter().map(|message| message.uid).collect()
}

fn flags(mailbox: &Mailbox, uid: u32) -> Flags {
    mailbox.find(uid).expect("the message").flags
}

fn refreshed(mailbox: &mut Mailbox) -> &Mailbox {
    mailbox.refresh().expect("a refresh");
    mailbox
}

/// Both handles say the same of everything.
#[track_caller]
fn assert_agree(one: &mut Mailbox, other: &mut Mailbox) {
    for _ in 0..2 {
        refreshed(one);
        refreshed(other);
    }
    let all = |mailbox: &Mailbox| -> Vec<_> {
        let of = |message: &Message| (message.uid, message.flags, message.modseq);
        mailbox.messages().iter().map(of).collect()
    };
    assert_eq!(all(one), all(other));
    assert_eq!(one.uid_next(), other.uid_next());
    assert_eq!(one.highest_modseq(), other.highest_modseq());
    assert_eq!(one.keywords(), other.keywords());
    assert_eq!(one.expunged_since(0), other.expunged_since(0));
}

#[test]
fn an_appended_message_is_there_with_its_flags_date_and_size() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    let date = Some(836_000_000);
    let body = "Subject: x\r\n\r\ntext\r\n";
    let flags = Flags::SEEN | Flags::FLAGGED;
    let uid = mailbox.append(&mut body.as_bytes(), 20, flags, date).expect("an append");
    assert_eq!((uid, mailbox.uid_next(), mailbox.messages().len()), (1, 2, 1));
    let mut message = ground.inbox().open_message(uid).expect("the message");
    assert_eq!(message.internal_date(), 836_000_000);
    assert_eq!(message.read().expect("bytes"), body.as_bytes());
    assert!(ground.names("cur")[0].ends_with(",S=20,W=20:2,FS"));
    assert_eq!(ground.names("tmp"), [""; 0]);
    assert_eq!(mailbox.size(uid).expect("a size"), 20);
}

#[test]
fn a_body_that_ends_early_stores_nothing() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    mailbox.append(&mut &b"short"[..], 6, Flags::default(), None).expect_err("a short body");
    assert_eq!((ground.names("cur"), ground.names("tmp")), (vec![], vec![]));
    assert_eq!(append(&mut mailbox, "whole"), 1, "no UID was spent");
}

/// RFC 5322 2.1: lines end in CRLF on the wire, whatever the delivery agent wrote.
#[test]
fn sizes_count_bare_line_feeds_as_line_ends() {
    let ground = Ground::new();
    ground.deliver("new/1.host", "\nA\r\nB\n\n");
    let mailbox = ground.inbox();
    assert_eq!(mailbox.size(1).expect("a size"), 10);
    assert_eq!(text(&mailbox, 1), "\nA\r\nB\n\n", "as it lies on the disk");
    let start = mailbox.open_message(1).expect("the message").read_start(2);
    assert_eq!(start.expect("its bytes"), b"\nA");
}

#[test]
fn delivered_mail_gets_uids_in_the_order_of_delivery() {
    let ground = Ground::new();
    for name in ["new/3.c", "new/1.a", "cur/2.b:2,RS", "new/11.d"] {
        ground.deliver(name, name);
    }
    let mut mailbox = ground.inbox();
    let texts: Vec<_> = uids(&mailbox).into_iter().map(|uid| text(&mailbox, uid)).collect();
    assert_eq!(texts, ["new/1.a", "cur/2.b:2,RS", "new/3.c", "new/11.d"]);
    assert_eq!(flags(&mailbox, 2), Flags::ANSWERED | Flags::SEEN);
    ground.deliver("new/0.late", "late");
    assert_eq!(uids(refreshed(&mut mailbox)), [1, 2, 3, 4, 5]);
    assert_eq!(text(&mailbox, 5), "late");
}

#[test]
fn flags_are_in_the_name_and_keywords_in_the_index() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    let (one, two) = (append(&mut mailbox, "1"), append(&mut mailbox, "2"));
    let keyword = mailbox.keyword("$Work").expect("no error").expect("a number");
    assert_eq!(mailbox.keyword("$WORK").expect("no error"), Some(keyword));
    let named = Flags::SEEN | Flags::of_keyword(keyword);
    let before = mailbox.highest_modseq();
    let done = mailbox.change_flags(&[two, one, two, 99], FlagChange::Add, named, None);
    assert_eq!(done.expect("a change").changed, [one, two]);
    assert_eq!(mailbox.highest_modseq(), before + 1);
    let again = mailbox.change_flags(&[one], FlagChange::Add, Flags::SEEN, None);
    assert_eq!(again.expect("no change"), Changed::default());
    assert_eq!(mailbox.highest_modseq(), before + 1, "nothing changed, so nothing is new");
    assert!(ground.names("cur").iter().all(|name| name.ends_with(":2,S")));
    let mut other = ground.inbox();
    assert_eq!(flags(&other, one), named);
    assert_eq!(other.keywords(), ["$Work"]);
    let replace = other.change_flags(&[one], FlagChange::Replace, Flags::DELETED, None);
    assert_eq!(replace.expect("a change").changed, [one]);
    assert_eq!(flags(refreshed(&mut mailbox), one), Flags::DELETED);
}

/// RFC 7162 3.1.3: what changed since is left alone and named.
#[test]
fn a_conditional_store_leaves_later_changes_alone() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    let (one, two) = (append(&mut mailbox, "1"), append(&mut mailbox, "2"));
    let since = mailbox.highest_modseq();
    mailbox.change_flags(&[two], FlagChange::Add, Flags::SEEN, None).expect("a change");
    let done = mailbox.change_flags(&[one, two], FlagChange::Add, Flags::DRAFT, Some(since));
    assert_eq!(done.expect("a change"), Changed { changed: vec![one], modified: vec![two] });
    assert_eq!(flags(&mailbox, two), Flags::SEEN);
}

#[test]
fn uids_of_expunged_messages_are_remembered_and_never_come_back() {
    let ground = Ground::new();
    let mut mailbox = ground.inbox();
    for n in 1..=5 {
        append(&mut mailbox, &n.to_string());
    }
    assert_eq!(mailbox.expunge(&[4, 2, 2, 9]).expect("an expunge"), [2, 4]);
    let since = mailbox.highest_modseq();
    assert_eq!(mailbox.expunge(&[1, 3, 5]).expect("an expunge"), [1, 3, 5]);
    assert_eq!(mailbox.expunged_since(0), [1..=5]);
    assert!(mailbox.expunged_since(since).iter().all(|uids| *uids.start() % 2 == 1));
    assert_eq!(ground.names("cur"), [""; 0]);
    let mut mailbox = ground.inbox();
    assert_eq!(append(&mut mailbox, "next"), 6, "even though the mailbox was empty");
    assert_eq!(mailbox.expunged_since(0), [1..=5]);
}

#[test]
fn copies_take_flags_keywords_and_date_with_them() {
    let ground = Ground::new();
    let (mut inbox, mut work) = (ground.inbox(), ground.made("Work"));
    work.keyword("other").expect("no error").expect("a number");
    let keyword = inbox.keyword("$Label").expect("no error").expect("a number");
    let all = Flags::SEEN | Flags::of_keyword(keyword);
    let body = "one\r\n";
    inbox.append(&mut body.as_bytes(), 5, all, Some(77)).expect("an append");
    append(&mut inbox, "two\r\n");
    append(&mut work, "there\r\n");
    assert_eq!(inbox.copy(&[2, 1, 8], &mut work, false).expect("a copy"), [(1, 2), (2, 3)]);
    assert_eq!(work.keywords(), ["other", "$Label"]);
    assert_eq!(flags(&work, 2), Flags::SEEN | Flags::of_keyword(1));
    assert_eq!(work.open_message(2).expect("the copy").internal_date(), 77);
    assert_eq!(text(&work, 3), "two\r\n");
    assert_eq!(uids(&inbox), [1, 2]);
    assert_agree(&mut inbox, &mut ground.inbox());
    assert_eq!(fs::metadata(ground.path("cur").join(&ground.names("cur")[0])).unwrap().nlink(), 2);
}

#[test]
fn a_moved_message_is_there_and_not_here() {
    let ground = Ground::new();
    let (mut inbox, mut work) = (ground.inbox(), ground.made("Work"));
    append(&mut inbox, "one");
    append(&mut inbox, "two");
    assert_eq!(inbox.copy(&[2], &mut work, true).expect("a move"), [(2, 1)]);
    assert_eq!((uids(&inbox), uids(&work)), (vec![1], vec![1]));
    assert_eq!(inbox.expunged_since(0), [2..=2]);
    assert_eq!((text(&inbox, 1), text(&work, 1)), ("one".into(), "two".into()));
    assert_agree(&mut inbox, &mut ground.inbox());
}

#[test]
fn a_mailbox_can_be_copied_and_moved_into_itself() {
    let ground = Ground::new();
    let (mut here, mut there) = (ground.inbox(), ground.inbox());
    append(&mut here, "one");
    assert_eq!(here.copy(&[1], &mut there, false).expect("a copy"), [(1, 2)]);
    assert_eq!(uids(&here), [1, 2]);
    assert_eq!(here.copy(&[1], &mut there, true).expect("a move"), [(1, 3)]);
    assert_eq!(uids(refreshed(&mut here)), [2, 3]);
    assert_agree(&mut here, &mut there);
}

#[test]
fn the_first_who_claims_has_the_recent_messages() {
    let ground = Ground::new();
    ground.deliver("new/1.host", "one");
    let (mut one, mut other) = (ground.inbox(), ground.inbox());
    let modseq = one.highest_modseq();
    assert_eq!(ground.home.status(&MailboxName::inbox()).expect("a status").recent, 1);
    assert_eq!(one.claim_recent().expect("a claim"), Some(1..=1));
    assert_eq!(other.claim_recent().expect("no claim"), None);
    assert_eq!((ground.names("new"), ground.names("cur")), (vec![], vec!["1.host:2,".into()]));
    append(&mut other, "two");
    assert_eq!(refreshed(&mut one).messages().len(), 2);
    assert_eq!(one.claim_recent().expect("a claim"), Some(2..=2));
    assert_eq!(one.find(1).expect("one").modseq, modseq, "a file that moved is no change");
    assert_agree(&mut one, &mut other);
}

#[test]
fn two_handles_agree_whoever_changes_what() {
    let ground = Ground::new();
    let (mut one, mut other) = (ground.inbox(), ground.inbox());
    append(&mut one, "1");
    append(&mut other, "2");
    append(&mut one, "3");
    other.keyword("a").expect("no error");
    one.keyword("b").expect("no error");
    assert_eq!(one.keywords(), ["a", "b"]);
    other.change_flags(&[1, 2], FlagChange::Add, Flags::SEEN, None).expect("a change");
    one.change_flags(&[1], FlagChange::Remove, Flags::SEEN, None).expect("a change");
    other.expunge(&[2]).expect("an expunge");
    assert_agree(&mut one, &mut other);
    assert_eq!(uids(&one), [1, 3]);
    assert_eq!(flags(&other, 1), Flags::default());
    assert_agree(&mut one, &mut ground.inbox());
}
