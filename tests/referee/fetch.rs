//! FETCH: every item of every mail.

use std::collections::BTreeMap;

use torpor::dovecot::Version;

use super::masks::{Masks, meaning};
use super::place::Place;
use super::talk::Answer;
use super::value::Value;

#[test]
fn dovecot23_and_the_worker_show_the_same_mails() {
    show_the_same_mails(Version::V23);
}

#[test]
fn dovecot24_and_the_worker_show_the_same_mails() {
    show_the_same_mails(Version::V24);
}

fn show_the_same_mails(version: Version) {
    let mut place = Place::new(version);
    let number = |place: &Place, name| {
        let at = place.mails.iter().position(|mail| mail.name == name);
        at.expect("a mail of the corpus") + 1
    };
    let all = ITEMS.map(|items| (1..=place.mails.len(), items));
    let deep = DEEP_ITEMS.map(|(mail, items)| (number(&place, mail)..=number(&place, mail), items));
    let (mut masks, mut differences, mut names) = (Masks::new(version), Vec::new(), Vec::new());
    for (numbers, items) in all.into_iter().chain(deep) {
        let both = place.both(&format!("FETCH {}:{} ({items})", numbers.start(), numbers.end()));
        let (referee, ours) = (fetched(&both.referee), fetched(&both.ours));
        assert_eq!(referee.len(), numbers.count(), "{items}: an answer for each mail");
        assert!(referee.keys().eq(ours.keys()), "{items}");
        for (number, theirs) in referee {
            let mail = &place.mails[number as usize - 1].name;
            let ours = &ours[&number];
            assert!(theirs.keys().eq(ours.keys()), "{mail}: {theirs:?} {ours:?}");
            for (item, value) in theirs {
                differences.extend(masks.compare(mail, &item, &value, &ours[&item]));
                names.push(item);
            }
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    masks.judge(&differences, &names);
}

#[test]
fn dovecot23_and_the_worker_set_seen_alike() {
    set_seen_alike(Version::V23);
}

#[test]
fn dovecot24_and_the_worker_set_seen_alike() {
    set_seen_alike(Version::V24);
}

fn set_seen_alike(version: Version) {
    let mut place = Place::new(version);
    for command in [
        "FETCH 1 (FLAGS BODY.PEEK[TEXT])",
        "FETCH 2 BODY[]",
        "FETCH 3 BODY[HEADER]<0.5>",
        "FETCH 4:5 RFC822",
        "FETCH 6 RFC822.TEXT",
        "FETCH 7 RFC822.HEADER",
        "FETCH 8 FULL",
        "FETCH 9 ALL",
        "UID FETCH 10:12 FAST",
        "UID FETCH 13 (UID BODY[1])",
        "FETCH 2,1:3 FLAGS",
        "FETCH 1:14 (FLAGS)",
    ] {
        let both = place.both(command);
        // They may come with the item that sets them or on a line of their own.
        let flags = [&both.referee, &both.ours].map(|answer| {
            let flags = |items: &BTreeMap<String, Value>| items.get("FLAGS").cloned();
            fetched(answer).values().map(flags).collect::<Vec<_>>()
        });
        assert_eq!(flags[0], flags[1], "{command}");
    }
}

#[test]
fn dovecot23_and_the_worker_refuse_alike() {
    refuse_alike(Version::V23);
}

#[test]
fn dovecot24_and_the_worker_refuse_alike() {
    refuse_alike(Version::V24);
}

fn refuse_alike(version: Version) {
    let mut place = Place::new(version);
    for command in [
        "FETCH 999 FLAGS",
        "FETCH 1 (BODY[",
        "FETCH 1 BODY[MIME]",
        "FETCH 0 FLAGS",
        "FETCH 1 FLAGS (VANISHED)",
        "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
        "FETCH 1 FLAGS (CHANGEDSINCE 999999)",
        "UID FETCH 999 FLAGS",
        "UID FETCH 999:* UID",
        "FETCH * UID",
    ] {
        let both = place.both(command);
        assert_eq!(fetched(&both.referee), fetched(&both.ours), "{command}");
    }
}

/// The items of each message; later news of one item replace earlier ones.
fn fetched(answer: &Answer) -> BTreeMap<u32, BTreeMap<String, Value>> {
    let mut all: BTreeMap<u32, BTreeMap<String, Value>> = BTreeMap::new();
    for response in &answer.untagged {
        let Some((number, items)) = Value::fetch(response) else { continue };
        let items = items.into_iter().map(|(item, value)| (item.clone(), meaning(&item, value)));
        all.entry(number).or_default().extend(items);
    }
    all
}

/// Asked of all mails.
const ITEMS: [&str; 12] = [
    "UID FLAGS INTERNALDATE RFC822.SIZE",
    "ENVELOPE",
    "BODY",
    "BODYSTRUCTURE",
    "BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] RFC822.HEADER",
    "BODY.PEEK[HEADER.FIELDS (From Subject X-None)] BODY.PEEK[HEADER.FIELDS (x-none)]",
    "BODY.PEEK[HEADER.FIELDS.NOT (from SUBJECT)] BODY.PEEK[HEADER.FIELDS.NOT (X-None)]",
    "BODY.PEEK[1] BODY.PEEK[2] BODY.PEEK[3] BODY.PEEK[4] BODY.PEEK[5] BODY.PEEK[6]",
    "BODY.PEEK[1.MIME] BODY.PEEK[2.MIME] BODY.PEEK[3.MIME] BODY.PEEK[4.MIME] BODY.PEEK[5.MIME]",
    "BODY.PEEK[1.HEADER] BODY.PEEK[1.TEXT] BODY.PEEK[2.HEADER] BODY.PEEK[2.TEXT] \
     BODY.PEEK[2.HEADER.FIELDS (Subject)] BODY.PEEK[2.HEADER.FIELDS.NOT (Subject)]",
    "BODY.PEEK[]<0.20> BODY.PEEK[TEXT]<5.7> BODY.PEEK[1]<3.100000> BODY.PEEK[HEADER]<10.30>",
    "BODY.PEEK[]<100000.5> BODY.PEEK[TEXT]<0.1> BODY.PEEK[HEADER.FIELDS (Subject)]<4.9>",
];

/// Asked of mails that have such parts.
const DEEP_ITEMS: [(&str, &str); 6] = [
    ("boundary-prefix", "BODY.PEEK[1.1] BODY.PEEK[1.1.MIME] BODY.PEEK[1.2]"),
    ("digest", "BODY.PEEK[1.1] BODY.PEEK[1.1.MIME] BODY.PEEK[1.MIME] BODY.PEEK[1.2]"),
    (
        "forwarded",
        "BODY.PEEK[2.1] BODY.PEEK[2.2] BODY.PEEK[2.3] BODY.PEEK[2.1.MIME] BODY.PEEK[2.2.MIME]",
    ),
    ("inner-unclosed", "BODY.PEEK[1.1] BODY.PEEK[1.1.MIME] BODY.PEEK[1.2]"),
    (
        "message-in-message",
        "BODY.PEEK[1.1] BODY.PEEK[1.1.1] BODY.PEEK[1.1.HEADER] BODY.PEEK[1.1.TEXT]",
    ),
    ("nested-multipart", "BODY.PEEK[1.1] BODY.PEEK[1.2] BODY.PEEK[1.1.MIME] BODY.PEEK[1.2.MIME]"),
];
