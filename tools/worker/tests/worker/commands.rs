//! Each command by itself: what RFC 3501 and its extensions leave no choice in.

use std::io::Write as _;

use crate::lab::Lab;
use torpor_worker::End;

#[test]
fn says_what_it_can_do_and_goodbye() {
    let lab = Lab::new();
    let mut client = lab.login();
    let can = client.ok("CAPABILITY").remove(0);
    for word in ["IMAP4rev1", "IDLE", "LITERAL+", "UIDPLUS", "QRESYNC", "MOVE", "NAMESPACE"] {
        assert!(can.split(' ').any(|known| known == word), "{word} in {can}");
    }
    assert_eq!(client.ok("ID NIL"), ["* ID (\"name\" \"torpor\")"]);
    assert_eq!(client.ok("NAMESPACE"), ["* NAMESPACE ((\"\" \".\")) NIL NIL"]);
    assert!(client.ok("NOOP").is_empty());
    assert_eq!(client.reply("LOGIN u1 pw"), "BAD Already logged in.");
    assert_eq!(client.reply("CLOSE"), "BAD No mailbox selected.");
    assert_eq!(client.ok("LOGOUT"), ["* BYE Logging out"]);
    assert!(matches!(client.end(), End::LoggedOut));
}

#[test]
fn an_order_to_stop_is_heard_everywhere() {
    // In IDLE, between commands, inside of one, and from a client that never stops talking.
    let lab = Lab::with_mails(100);
    let flood = "n NOOP\r\n".repeat(50_000);
    for begun in ["i IDLE\r\n", "", "a APPEND INBOX {9+}\r\nx", flood.as_str()] {
        let (stop, order) = nix::unistd::pipe().unwrap();
        let mut client = lab.login_until(Some(stop));
        let mut stream = client.stream();
        let text = begun.to_owned();
        let writer = std::thread::spawn(move || {
            let _ = stream.write_all(text.as_bytes());
        });
        nix::unistd::write(&order, b"x").unwrap();
        assert!(client.until("* BYE").last().unwrap().contains("Server shutting down."));
        assert!(matches!(client.end(), End::Stopped));
        drop(client);
        writer.join().unwrap();
    }
}

#[test]
fn mailboxes_are_made_listed_renamed_and_removed() {
    let lab = Lab::new();
    let mut client = lab.login();
    for name in ["Sent", "A.B.C", "A.D", "\"with space\"", "\"T&APw-r\"", "Parent."] {
        client.ok(&format!("CREATE {name}"));
    }
    assert_eq!(
        client.ok("LIST \"\" *"),
        [
            "* LIST (\\HasNoChildren) \".\" INBOX",
            "* LIST (\\HasNoChildren) \".\" A.B.C",
            "* LIST (\\HasNoChildren) \".\" A.D",
            "* LIST (\\HasNoChildren) \".\" Parent",
            "* LIST (\\HasNoChildren) \".\" Sent",
            "* LIST (\\HasNoChildren) \".\" T&APw-r",
            "* LIST (\\HasNoChildren) \".\" \"with space\"",
            "* LIST (\\Noselect \\HasChildren) \".\" A",
            "* LIST (\\Noselect \\HasChildren) \".\" A.B",
        ]
    );
    // The parents that nobody made are told as well.
    assert_eq!(
        client.ok("LIST A. %"),
        ["* LIST (\\HasNoChildren) \".\" A.D", "* LIST (\\Noselect \\HasChildren) \".\" A.B",]
    );
    assert_eq!(client.ok("LIST \"\" \"\""), ["* LIST (\\Noselect) \".\" \"\""]);
    assert_eq!(client.ok("LIST \"\" inbox").len(), 1);
    client.ok("RENAME A.B E");
    assert_eq!(client.ok("LIST \"\" E.*"), ["* LIST (\\HasNoChildren) \".\" E.C"]);
    client.ok("DELETE E.C");
    assert!(client.ok("LIST \"\" E*").is_empty());
    assert_eq!(client.reply("CREATE Sent"), "NO [ALREADYEXISTS] Mailbox already exists.");
    assert_eq!(client.reply("DELETE nowhere"), "NO [NONEXISTENT] Mailbox doesn't exist.");
    assert!(client.reply("DELETE INBOX").starts_with("NO [CANNOT]"));
    assert!(client.reply("CREATE inbox").starts_with("NO "));
}

#[test]
fn subscriptions_outlive_their_mailboxes() {
    let lab = Lab::new();
    let mut client = lab.login();
    client.ok("SUBSCRIBE A.B");
    client.ok("SUBSCRIBE INBOX");
    assert_eq!(client.ok("LSUB \"\" *"), ["* LSUB () \".\" INBOX", "* LSUB () \".\" A.B"]);
    assert_eq!(client.ok("LSUB \"\" %"), ["* LSUB () \".\" INBOX", "* LSUB (\\Noselect) \".\" A"]);
    client.ok("UNSUBSCRIBE A.B");
    assert_eq!(client.ok("LSUB \"\" *"), ["* LSUB () \".\" INBOX"]);
}

#[test]
fn a_mailbox_is_selected_and_left() {
    let lab = Lab::with_mails(3);
    let mut client = lab.login();
    let told = client.say("SELECT inbox");
    assert_eq!(told[0], "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
    assert!(told[1].starts_with("* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen "));
    assert_eq!(told[2..5], ["* 3 EXISTS", "* 3 RECENT", "* OK [UNSEEN 1] First unseen."]);
    assert!(told[5].starts_with("* OK [UIDVALIDITY "));
    assert_eq!(told[6], "* OK [UIDNEXT 4] Predicted next UID");
    assert!(told[7].starts_with("* OK [HIGHESTMODSEQ "));
    assert_eq!(told[8..], ["OK [READ-WRITE] Select completed."]);
    // \Recent was the first session's.
    let mut other = lab.login();
    assert!(other.ok("SELECT INBOX").contains(&"* 0 RECENT".to_owned()));
    assert_eq!(other.ok("UNSELECT"), [""; 0]);
    assert_eq!(other.reply("EXPUNGE"), "BAD No mailbox selected.");
    // A SELECT that fails leaves the mailbox before.
    let told = client.say("SELECT nowhere");
    assert_eq!(told[0], "* OK [CLOSED] Previous mailbox closed.");
    assert_eq!(told[1], "NO [NONEXISTENT] Mailbox doesn't exist.");
    assert_eq!(client.reply("CHECK"), "BAD No mailbox selected.");
}

#[test]
fn an_examined_mailbox_stays_as_it_is() {
    let lab = Lab::with_mails(2);
    let mut client = lab.login();
    let told = client.say("EXAMINE INBOX");
    assert!(told.contains(&"* OK [PERMANENTFLAGS ()] Read-only mailbox.".to_owned()));
    assert!(told.contains(&"* 2 RECENT".to_owned()));
    assert_eq!(told.last().unwrap(), "OK [READ-ONLY] Examine completed.");
    let refused = "NO [READ-ONLY] Mailbox is read-only.";
    for command in ["STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "MOVE 1 INBOX"] {
        assert_eq!(client.reply(command), refused, "{command}");
    }
    client.ok("CLOSE");
    client.ok("EXAMINE INBOX");
    lab.deliver("INBOX", "x\n");
    assert_eq!(client.ok("NOOP"), ["* 3 EXISTS", "* 3 RECENT"]);
    // Nobody's \Recent was taken.
    assert!(lab.login().ok("SELECT INBOX").contains(&"* 3 RECENT".to_owned()));
}

#[test]
fn status_counts_without_selecting() {
    let lab = Lab::with_mails(2);
    let mut client = lab.select();
    client.ok("STORE 1 +FLAGS.SILENT (\\Seen)");
    client.ok("CREATE \"a b\"");
    let told = client.ok("STATUS INBOX (MESSAGES UNSEEN UIDNEXT)");
    assert_eq!(told, ["* STATUS INBOX (MESSAGES 2 UNSEEN 1 UIDNEXT 3)"]);
    let told = client.ok("STATUS \"a b\" (RECENT MESSAGES)");
    assert_eq!(told, ["* STATUS \"a b\" (RECENT 0 MESSAGES 0)"]);
    assert!(client.reply("STATUS x (MESSAGES)").starts_with("NO [NONEXISTENT]"));
}

#[test]
fn flags_are_stored_and_told() {
    let lab = Lab::with_mails(3);
    let mut client = lab.select();
    assert_eq!(
        client.ok("STORE 1:2 FLAGS (\\Seen \\Answered)"),
        [
            "* 1 FETCH (FLAGS (\\Answered \\Seen \\Recent))",
            "* 2 FETCH (FLAGS (\\Answered \\Seen \\Recent))",
        ]
    );
    assert_eq!(
        client.ok("UID STORE 2 -FLAGS \\Seen"),
        ["* 2 FETCH (UID 2 FLAGS (\\Answered \\Recent))"]
    );
    assert!(client.ok("STORE 3 +FLAGS.SILENT (\\Draft)").is_empty());
    let told = client.ok("STORE 3 +FLAGS ($Junk)");
    assert_eq!(told[0], "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk)");
    assert_eq!(told[2], "* 3 FETCH (FLAGS (\\Draft \\Recent $Junk))");
    // A keyword in other letters is the same one; removing one that is not there makes none.
    let told = client.ok("STORE 3 -FLAGS ($JUNK $none)");
    assert_eq!(told, ["* 3 FETCH (FLAGS (\\Draft \\Recent))"]);
    assert_eq!(client.reply("STORE 1 +FLAGS (\\Recent)"), "BAD Invalid system flag \\Recent.");
    assert_eq!(client.reply("STORE 4 +FLAGS (\\Seen)"), "BAD Invalid messageset.");
    assert!(client.ok("UID STORE 9 +FLAGS (\\Seen)").is_empty());
}

#[test]
fn deleted_messages_go_at_expunge() {
    let lab = Lab::with_mails(5);
    let mut client = lab.select();
    client.ok("STORE 1,3,5 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(client.ok("UID EXPUNGE 3:4"), ["* 3 EXPUNGE", "* 4 RECENT"]);
    assert_eq!(client.ok("EXPUNGE"), ["* 1 EXPUNGE", "* 3 EXPUNGE", "* 2 RECENT"]);
    assert!(client.ok("EXPUNGE").is_empty());
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    assert!(client.ok("CLOSE").is_empty());
    let told = client.ok("SELECT INBOX");
    assert!(told.contains(&"* 1 EXISTS".to_owned()));
    assert!(told.contains(&"* OK [UIDNEXT 6] Predicted next UID".to_owned()));
}

#[test]
fn copies_and_moves_tell_the_new_uids() {
    let lab = Lab::with_mails(4);
    let mut client = lab.select();
    client.ok("CREATE A");
    client.ok("STORE 2 +FLAGS.SILENT (\\Flagged $k)");
    let reply = client.reply("COPY 2,4 A");
    assert!(reply.starts_with("OK [COPYUID ") && reply.ends_with(" 2,4 1:2] Copy completed."));
    let told = client.ok("UID MOVE 1,3 A");
    assert!(told[0].starts_with("* OK [COPYUID ") && told[0].ends_with(" 1,3 3:4] Moved UIDs."));
    assert_eq!(told[1..], ["* 1 EXPUNGE", "* 2 EXPUNGE", "* 2 RECENT"]);
    assert!(client.reply("COPY 1 nowhere").starts_with("NO [TRYCREATE]"));
    // To the same mailbox as well; the copies are new mail.
    let told = client.say("COPY 1 INBOX");
    assert_eq!(told[0], "* 3 EXISTS");
    assert!(told.last().unwrap().ends_with(" 2 5] Copy completed."), "{told:?}");
    client.ok("SELECT A");
    assert_eq!(
        client.ok("STORE 1 +FLAGS (\\Seen)")[0],
        "* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent $k))"
    );
}

#[test]
fn appended_mail_arrives_with_flags_and_date() {
    let lab = Lab::new();
    let mut client = lab.select();
    client.send("a APPEND INBOX (\\Seen $k) \"01-Feb-2020 10:20:30 +0100\" {14}\r\n");
    assert_eq!(client.line(), "+ OK");
    client.send("Subject: x\r\n\r\n\r\n");
    let told = client.until("a ");
    assert!(told.contains(&"* 1 EXISTS".to_owned()), "{told:?}");
    let last = told.last().unwrap();
    assert!(last.starts_with("a OK [APPENDUID ") && last.ends_with(" 1] Append completed."));
    // Without waiting, twice in one breath, the mailbox's name in a literal of its own.
    client.send("b APPEND {5+}\r\nINBOX {4+}\r\nabcd\r\nc APPEND \"INBOX\" {3+}\r\nxyz\r\n");
    assert!(client.until("b ").last().unwrap().contains(" 2] Append completed."));
    assert!(client.until("c ").last().unwrap().contains(" 3] Append completed."));
    assert!(client.reply("STORE 1 +FLAGS (\\Flagged)").starts_with("OK"));
}

#[test]
fn an_append_that_cannot_be_stored_is_not_read() {
    let lab = Lab::new();
    let mut client = lab.select();
    for (command, reply) in [
        ("APPEND nowhere {10}", "NO [TRYCREATE] Mailbox doesn't exist."),
        ("APPEND INBOX {67108865}", "NO [TOOBIG] Message too large."),
        ("APPEND INBOX (\\Nonsense) {10}", "BAD Invalid system flag \\Nonsense."),
        ("APPEND INBOX {0}", "NO Can't save a zero byte message."),
        ("APPEND ../x {10}", "NO [CANNOT] Invalid mailbox name."),
    ] {
        assert_eq!(client.reply(command), reply, "{command}");
    }
    // Sent all the same, it is skipped and the next command is the next command.
    client.send("a APPEND nowhere {10+}\r\n0123456789\r\n");
    assert_eq!(client.line(), "a NO [TRYCREATE] Mailbox doesn't exist.");
    client.send("b APPEND INBOX {10+}\r\n0123456789 {3+}\r\nabc\r\n");
    assert_eq!(client.line(), "b BAD Unexpected text after the message.");
    assert!(client.ok("NOOP").is_empty(), "nothing of it was stored");
}

#[test]
fn extensions_are_enabled_once() {
    let lab = Lab::new();
    let mut client = lab.login();
    assert_eq!(client.ok("ENABLE X-NONE"), ["* ENABLED"]);
    assert_eq!(client.ok("ENABLE condstore QRESYNC"), ["* ENABLED CONDSTORE QRESYNC"]);
    assert_eq!(client.ok("ENABLE QRESYNC"), ["* ENABLED"]);
}
