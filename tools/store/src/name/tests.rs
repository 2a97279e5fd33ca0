use super::*;

#[track_caller]
fn refused(text: &str, reason: &str) {
    match MailboxName::parse(text) {
        Err(StoreError::BadName { why }) => assert_eq!(why, reason, "{text:?}"),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn names_that_could_leave_the_directory_are_refused() {
    for (text, why) in [
        ("", "empty part"),
        ("..", "empty part"),
        (".", "empty part"),
        (".hidden", "empty part"),
        ("A..B", "empty part"),
        ("A.", "empty part"),
        ("/etc/passwd", "'/' in it"),
        ("A/../B", "'/' in it"),
        ("A\0B", "control character"),
        ("A\r\nB", "control character"),
        ("A\x7fB", "not in modified UTF-7"),
        ("caf\u{e9}", "not in modified UTF-7"),
        ("A*", "wildcard in it"),
        ("%", "wildcard in it"),
    ] {
        refused(text, why);
    }
    refused(&"x".repeat(MailboxName::BYTES_MAX + 1), "too long");
    assert!(MailboxName::parse(&"x".repeat(MailboxName::BYTES_MAX)).is_ok());
}

/// RFC 3501 5.1.3: what ASCII can say must not be shifted, and shifts must decode.
#[test]
fn only_the_one_right_encoding_is_taken() {
    for text in ["Entw&APw-rfe", "&U,BTFw-", "a&-b", "&2D3cqQ-", "&AOQ-&-", "Sent Items"] {
        assert_eq!(MailboxName::parse(text).expect(text).as_str(), text);
    }
    for text in [
        "a&b",        // never closed
        "&AC8-",      // "/" in disguise
        "&AC4ALg-",   // ".." in disguise
        "&AAA-",      // NUL in disguise
        "&AA0-",      // CR in disguise
        "&2D0-",      // half a surrogate pair
        "&AP-",       // half a character
        "&APx-",      // bits left over that are not zero
        "&AOQ-&AOQ-", // one shift would do
        "&AO+!-",     // not base64
    ] {
        refused(text, "not in modified UTF-7");
    }
}

#[test]
fn inbox_has_one_name_in_any_case() {
    for text in ["INBOX", "inbox", "InBoX"] {
        assert!(MailboxName::parse(text).expect("a name").is_inbox());
    }
    assert_eq!(MailboxName::inbox().folder(), ".");
    assert_eq!(MailboxName::of_folder(".inbox"), None, "a folder cannot pose as INBOX");
}

#[test]
fn folders_and_names_go_both_ways() {
    let name = MailboxName::parse("Work.2026").expect("a name");
    assert_eq!(name.folder(), ".Work.2026");
    assert_eq!(MailboxName::of_folder(".Work.2026"), Some(name.clone()));
    assert_eq!(name.parent().expect("a parent").as_str(), "Work");
    assert!(name.is_below(&name.parent().expect("a parent")));
    assert!(!MailboxName::parse("Workshop").expect("a name").is_below(&name));
    for folder in ["cur", ".", "..", "..torpor-gone", ".a/b"] {
        assert_eq!(MailboxName::of_folder(folder), None, "{folder}");
    }
}

#[test]
fn inbox_sorts_first() {
    let mut names = ["b", "INBOX", "A"].map(|text| MailboxName::parse(text).expect("a name"));
    names.sort();
    assert_eq!(names.map(|name| name.to_string()), ["INBOX", "A", "b"]);
}
