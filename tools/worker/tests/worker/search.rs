//! SEARCH beyond what mails hold: charsets, modseqs, messages that have gone.

use crate::lab::Lab;

#[test]
fn numbers_and_uids_are_found() {
    let lab = Lab::with_mails(4);
    let mut client = lab.select();
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    client.ok("EXPUNGE");
    assert_eq!(client.ok("SEARCH ALL"), ["* SEARCH 1 2 3"]);
    assert_eq!(client.ok("UID SEARCH 2:*"), ["* SEARCH 3 4"]);
    assert_eq!(client.ok("UID SEARCH UID 1:3 SUBJECT 3"), ["* SEARCH 3"]);
    assert_eq!(client.ok("SEARCH BODY nowhere"), ["* SEARCH"]);
}

#[test]
fn strange_charsets_are_refused_with_the_known_ones() {
    let lab = Lab::with_mails(1);
    let mut client = lab.select();
    let reply = client.reply("SEARCH CHARSET KOI8-R TEXT x");
    assert_eq!(reply, "NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset.");
    assert_eq!(client.ok("SEARCH CHARSET utf-8 TEXT MAIL"), ["* SEARCH 1"]);
    client.send(b"x SEARCH TEXT {1+}\r\n\xff\r\n");
    assert_eq!(client.line(), "x BAD Invalid UTF-8 in a search string.");
}

#[test]
fn modseq_finds_what_has_changed_and_tells_the_highest() {
    let lab = Lab::with_mails(3);
    let mut client = lab.select();
    let told = client.ok("SEARCH MODSEQ 1");
    assert!(told[0].starts_with("* OK [HIGHESTMODSEQ "), "asking enables it: {told:?}");
    let modseq: u64 = told[1].split([' ', ')']).nth(6).unwrap().parse().unwrap();
    client.ok("STORE 2 +FLAGS.SILENT (\\Seen)");
    let told = client.ok(&format!("SEARCH OR MODSEQ {} SUBJECT none", modseq + 1));
    assert!(told[0].starts_with("* SEARCH 2 (MODSEQ "), "{told:?}");
    assert_eq!(client.ok("SEARCH MODSEQ 999999"), ["* SEARCH"]);
}

#[test]
fn messages_that_have_gone_are_not_found() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    one.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    assert_eq!(two.ok("SEARCH TEXT mail"), ["* SEARCH 1 3"]);
    assert_eq!(two.ok("UID SEARCH ALL"), ["* SEARCH 1 3", "* 2 EXPUNGE"]);
}
