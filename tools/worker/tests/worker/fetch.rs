//! FETCH beyond what a mail looks like: \Seen, modseqs, messages that have gone, large mails.

use std::fs;

use crate::lab::Lab;

#[test]
fn what_is_read_is_seen_and_told_after_it() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    let told = one.ok("FETCH 1 BODY.PEEK[TEXT]");
    assert_eq!(told, ["* 1 FETCH (BODY[TEXT] {8}", "mail 1", ")"]);
    let told = one.ok("FETCH 1:2 BODY[TEXT]<5.1>");
    let literals = ["* 1 FETCH (BODY[TEXT]<5> {1}", "1)", "* 2 FETCH (BODY[TEXT]<5> {1}", "2)"];
    assert_eq!(told[..4], literals);
    let flags = ["* 1 FETCH (FLAGS (\\Seen \\Recent))", "* 2 FETCH (FLAGS (\\Seen \\Recent))"];
    assert_eq!(told[4..], flags);
    assert_eq!(one.ok("FETCH 1:2 RFC822.TEXT").len(), 6, "nothing new is told");
    assert_eq!(two.ok("NOOP").len(), 2, "others are told of it");
}

#[test]
fn nothing_is_seen_in_an_examined_mailbox() {
    let lab = Lab::with_mails(1);
    let mut client = lab.login();
    client.ok("EXAMINE INBOX");
    assert_eq!(client.ok("FETCH 1 RFC822").last().map(String::as_str), Some(")"));
    assert_eq!(client.ok("FETCH 1 FLAGS"), ["* 1 FETCH (FLAGS (\\Recent))"]);
}

#[test]
fn changed_since_answers_with_modseqs_what_has_changed() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    let told = one.ok("FETCH 3 MODSEQ");
    assert!(told[0].starts_with("* OK [HIGHESTMODSEQ "), "asking enables it: {told:?}");
    let modseq: u64 = told[1].split(['(', ')']).nth(2).unwrap().parse().unwrap();
    two.ok("STORE 2 +FLAGS.SILENT (\\Flagged)");
    one.ok("NOOP");
    let told = one.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})"));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ ("),
        "{told:?}"
    );
}

#[test]
fn vanished_names_what_the_client_has_not_to_be_told_otherwise() {
    let lab = Lab::with_mails(6);
    let (mut one, mut two) = (lab.login(), lab.select());
    assert!(one.reply("FETCH 1 FLAGS").starts_with("BAD"));
    one.ok("ENABLE QRESYNC");
    one.ok("SELECT INBOX");
    two.ok("STORE 2,3,6 +FLAGS.SILENT (\\Deleted)");
    two.ok("EXPUNGE");
    assert_eq!(one.ok("NOOP").last().map(String::as_str), Some("* VANISHED 2:3,6"));
    two.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    two.ok("EXPUNGE");
    let told = one.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)");
    assert_eq!(told[0], "* VANISHED (EARLIER) 2:3,6");
    assert!(told.contains(&"* VANISHED 1".to_owned()), "it had a number until now: {told:?}");
    let told = one.ok("UID FETCH 3:4 (UID) (CHANGEDSINCE 1 VANISHED)");
    assert_eq!(told[0], "* VANISHED (EARLIER) 3");
    for command in ["FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH 1 FLAGS (VANISHED)"] {
        assert!(one.reply(command).starts_with("BAD"), "{command}");
    }
}

#[test]
fn messages_that_have_gone_are_passed_over() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    one.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    let told = two.say("FETCH 1:3 (UID RFC822.SIZE)");
    assert_eq!(told[0], "* 1 FETCH (UID 1 RFC822.SIZE 22)");
    assert_eq!(told[1], "* 3 FETCH (UID 3 RFC822.SIZE 22)");
    assert!(told[2].starts_with("OK [EXPUNGEISSUED]"), "{told:?}");
    assert_eq!(two.ok("UID FETCH 2 FLAGS"), ["* 2 EXPUNGE"]);
}

#[test]
fn a_mail_that_no_parser_likes_comes_as_its_bytes() {
    let lab = Lab::with_mails(0);
    let name = lab.home().join("new/1790000000.M1.host");
    fs::write(name, b"\0\nContent-Type: multipart/x; boundary=\0\n\xff\n\n--\0\n\n\0\n").unwrap();
    let mut client = lab.select();
    let told = client.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[1.2.3] BODY.PEEK[])");
    assert!(told[0].contains("BODYSTRUCTURE ((\"TEXT\" "), "{told:?}");
    assert!(told[1].ends_with("BODY[1.2.3] {0}"), "the boundary is a literal: {told:?}");
    assert_eq!(told[2], " BODY[] {57}");
}

#[test]
fn a_large_mail_comes_whole_and_in_parts() {
    let lab = Lab::with_mails(0);
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\n";
    let text = format!("Subject: large\n\n{}", line.repeat(50_000));
    fs::write(lab.home().join("new/1790000000.M1.host"), &text).unwrap();
    let wire = text.replace('\n', "\r\n");
    let mut client = lab.select();
    let told = client.ok("FETCH 1 (RFC822.SIZE BODY.PEEK[])");
    let size = wire.len();
    assert_eq!(told[0], format!("* 1 FETCH (RFC822.SIZE {size} BODY[] {{{size}}}"));
    assert_eq!(told[1..told.len() - 1].join("\r\n") + "\r\n", wire);
    let told = client.ok(&format!("FETCH 1 BODY.PEEK[TEXT]<{}.999999>", size - 18 - 63));
    assert_eq!(told[0], format!("* 1 FETCH (BODY[TEXT]<{}> {{63}}", size - 18 - 63));
    assert_eq!(told[1], line.trim_end());
}
