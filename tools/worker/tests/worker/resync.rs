//! CONDSTORE and QRESYNC (RFC 7162).

use crate::lab::{Client, Lab};

/// UIDVALIDITY and HIGHESTMODSEQ of a mailbox.
fn whereabouts(client: &mut Client, mailbox: &str) -> (u32, u64) {
    let told = client.ok(&format!("STATUS {mailbox} (UIDVALIDITY HIGHESTMODSEQ)"));
    let status = told.iter().find(|line| line.starts_with("* STATUS")).unwrap();
    let numbers: Vec<u64> = status.split([' ', ')']).filter_map(|word| word.parse().ok()).collect();
    (numbers[0] as u32, numbers[1])
}

#[test]
fn modseqs_are_told_once_they_are_asked_for() {
    let lab = Lab::with_mails(2);
    let mut client = lab.select();
    let told = client.ok("STATUS INBOX (HIGHESTMODSEQ)");
    assert!(told[0].starts_with("* OK [HIGHESTMODSEQ "), "using it enables it: {told:?}");
    let told = client.ok("STORE 1 +FLAGS.SILENT (\\Seen)");
    assert!(told[0].starts_with("* 1 FETCH (MODSEQ ("), "even if silent: {told:?}");
    let told = client.ok("UID STORE 1 +FLAGS (\\Draft)");
    assert!(told[0].starts_with("* 1 FETCH (UID 1 FLAGS (\\Seen \\Draft \\Recent) MODSEQ ("));
}

#[test]
fn a_conditional_store_leaves_what_has_changed() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    let (_, modseq) = whereabouts(&mut one, "INBOX");
    two.ok("STORE 2 +FLAGS.SILENT (\\Flagged)");
    let told = one.say(&format!("STORE 1:3 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)"));
    assert!(told[0].starts_with("* 2 FETCH (FLAGS (\\Flagged \\Recent) MODSEQ ("), "{told:?}");
    assert!(told[1].starts_with("* 1 FETCH (MODSEQ ("));
    assert!(told[2].starts_with("* 3 FETCH (MODSEQ ("));
    assert_eq!(told[3], "OK [MODIFIED 2] Conditional STORE failed.");
    let reply = one.reply("UID STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)");
    assert_eq!(reply, "OK [MODIFIED 1] Conditional STORE failed.");
}

#[test]
fn vanished_takes_the_place_of_expunge() {
    let lab = Lab::with_mails(6);
    let (mut one, mut two) = (lab.select(), lab.login());
    two.ok("ENABLE QRESYNC");
    two.ok("SELECT INBOX");
    one.ok("STORE 1:3,5 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    assert_eq!(two.ok("NOOP"), ["* VANISHED 1:3,5"]);
    let told = two.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    assert!(told[0].starts_with("* 1 FETCH (UID 4 MODSEQ ("), "{told:?}");
    let told = two.say("EXPUNGE");
    assert_eq!(told[0], "* VANISHED 4");
    assert!(told[1].starts_with("OK [HIGHESTMODSEQ "));
    one.ok("NOOP");
    one.ok("STORE 1 +FLAGS.SILENT (\\Seen)");
    let told = two.ok("NOOP");
    assert!(told[0].starts_with("* 1 FETCH (UID 6 FLAGS (\\Seen) MODSEQ ("), "{told:?}");
    two.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    let last = two.reply("CLOSE");
    assert!(last.starts_with("OK [HIGHESTMODSEQ "), "{last}");
}

#[test]
fn a_returning_client_hears_what_it_has_missed() {
    let lab = Lab::with_mails(8);
    let mut one = lab.select();
    let (validity, modseq) = whereabouts(&mut one, "INBOX");
    one.ok("STORE 2,3,7 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    one.ok("STORE 1,2 +FLAGS.SILENT (\\Seen)");
    let mut two = lab.login();
    let refused = two.reply(&format!("SELECT INBOX (QRESYNC ({validity} {modseq}))"));
    assert_eq!(refused, "BAD QRESYNC not enabled.");
    two.ok("ENABLE QRESYNC");
    let missed = |two: &mut Client, parameters: &str| {
        let told = two.ok(&format!("SELECT INBOX (QRESYNC ({parameters}))"));
        let heard = told.iter().filter(|line| line.contains(" FETCH ") || line.contains("VANI"));
        heard.map(|line| line.split(" MODSEQ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = [
        "* VANISHED (EARLIER) 2:3,7",
        "* 1 FETCH (UID 1 FLAGS (\\Seen)",
        "* 2 FETCH (UID 4 FLAGS (\\Seen)",
    ];
    assert_eq!(missed(&mut two, &format!("{validity} {modseq}")), all);
    assert_eq!(missed(&mut two, &format!("{validity} {modseq} 1:8 (1,2,3 1,2,3)")), all);
    let some = ["* VANISHED (EARLIER) 3", "* 2 FETCH (UID 4 FLAGS (\\Seen)"];
    assert_eq!(missed(&mut two, &format!("{validity} {modseq} 3:5")), some);
    let (_, now) = whereabouts(&mut two, "INBOX");
    assert_eq!(missed(&mut two, &format!("{validity} {now}")), [""; 0]);
    // Under another UIDVALIDITY nothing that the client knows is worth anything.
    assert_eq!(missed(&mut two, &format!("{} {modseq}", validity + 1)), [""; 0]);
}
