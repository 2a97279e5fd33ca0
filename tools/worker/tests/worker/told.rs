//! What one session is told of another's doings, and when (RFC 3501, 5.2 and 7.4.1; RFC 2180).

use crate::lab::Lab;

#[test]
fn expunges_wait_for_a_command_that_may_tell_them() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    // Sequence numbers still mean what they meant.
    let told = two.ok("STORE 3 +FLAGS (\\Seen)");
    assert_eq!(told, ["* 3 FETCH (FLAGS (\\Seen))"]);
    let told = two.say("STORE 1:2 +FLAGS (\\Flagged)");
    assert_eq!(told[0], "* 2 FETCH (FLAGS (\\Flagged))");
    assert!(told[1].starts_with("NO [EXPUNGEISSUED]"), "{told:?}");
    let told = two.say("COPY 1:2 INBOX");
    assert_eq!(told[0], "* 1 EXPUNGE");
    assert!(told[1].starts_with("NO [EXPUNGEISSUED]"));
    assert_eq!(two.reply("STORE 3 +FLAGS (\\Seen)"), "BAD Invalid messageset.");
}

#[test]
fn uid_commands_tell_expunges() {
    let lab = Lab::with_mails(3);
    let (mut one, mut two) = (lab.select(), lab.select());
    one.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    let told = two.ok("UID STORE 3 +FLAGS (\\Seen)");
    assert_eq!(told, ["* 3 FETCH (UID 3 FLAGS (\\Seen))", "* 2 EXPUNGE"]);
}

#[test]
fn flags_and_keywords_of_others_are_told_and_ones_own_only_once() {
    let lab = Lab::with_mails(2);
    let (mut one, mut two) = (lab.select(), lab.select());
    one.ok("STORE 1 +FLAGS.SILENT (\\Seen $k)");
    assert!(one.ok("NOOP").is_empty(), "silent is silent");
    let told = two.ok("NOOP");
    assert_eq!(told[0], "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $k)");
    assert_eq!(told[2], "* 1 FETCH (FLAGS (\\Seen $k))");
    assert!(two.ok("NOOP").is_empty());
}

#[test]
fn arrivals_are_told_and_recent_for_the_first_who_hears() {
    let lab = Lab::with_mails(1);
    let (mut one, mut two) = (lab.select(), lab.select());
    lab.deliver("INBOX", "new\n");
    assert_eq!(one.ok("NOOP"), ["* 2 EXISTS", "* 2 RECENT"]);
    assert_eq!(two.ok("NOOP"), ["* 2 EXISTS"]);
}

#[test]
fn idle_tells_of_mail_as_it_comes() {
    let lab = Lab::with_mails(1);
    let (mut one, mut two) = (lab.select(), lab.select());
    two.idle();
    lab.deliver("INBOX", "new\n");
    assert_eq!((two.line(), two.line()), ("* 2 EXISTS".into(), "* 1 RECENT".into()));
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(two.line(), "* 1 FETCH (FLAGS (\\Deleted))");
    one.ok("EXPUNGE");
    assert_eq!(two.line(), "* 1 EXPUNGE");
    two.send("done\r\n");
    assert_eq!(two.line(), "i OK Idle completed.");
}

#[test]
fn idle_ends_at_anything_but_done() {
    let lab = Lab::new();
    let mut client = lab.login();
    client.idle();
    client.send("FOO BAR\r\n");
    assert_eq!(client.line(), "i BAD Expected DONE.");
    // In pieces, and with the next command behind it.
    client.idle();
    for piece in ["D", "ON", "E\r", "\nz NOOP\r\n"] {
        client.send(piece);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(client.line(), "i OK Idle completed.");
    assert_eq!(client.line(), "z OK NOOP completed.");
}

#[test]
fn keepalives_come_while_nothing_else_does() {
    let mut lab = Lab::new();
    lab.options.keepalive = std::time::Duration::from_millis(100);
    let mut client = lab.select();
    client.idle();
    for _ in 0..3 {
        assert_eq!(client.line(), "* OK Still here");
    }
    client.send("DONE\r\n");
    assert!(client.until("i ").last().unwrap().starts_with("i OK"));
}

#[test]
fn idle_on_a_mailbox_that_goes_ends_in_bye() {
    let lab = Lab::hibernating(std::time::Duration::from_millis(200));
    let (mut one, mut two) = (lab.login(), lab.login());
    one.ok("CREATE A");
    two.ok("SELECT A");
    two.idle();
    one.ok("DELETE A");
    assert_eq!(two.line(), "* BYE Selected mailbox was deleted.");
}

#[test]
fn a_deleted_mailbox_says_no_and_lets_go() {
    let lab = Lab::new();
    let (mut one, mut two) = (lab.login(), lab.login());
    one.ok("CREATE A");
    two.ok("SELECT A");
    one.ok("DELETE A");
    assert!(two.reply("NOOP").starts_with("NO "));
    assert!(two.ok("LIST \"\" *").len() == 1);
    two.ok("SELECT INBOX");
}
