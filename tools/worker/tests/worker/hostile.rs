//! Clients that mean harm, or are broken. Each costs itself a BAD, or its own session, and nothing
//! else: a second client is served all the while.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use torpor_worker::End;

use crate::lab::Lab;

#[test]
fn malformed_commands_get_bad_with_their_tags() {
    let lab = Lab::new();
    let mut client = lab.select();
    for (sent, reply) in [
        ("a1 FROB\r\n", "a1 BAD Error in IMAP command."),
        ("a2\r\n", "a2 BAD Error in IMAP command."),
        ("a3 \r\n", "a3 BAD Error in IMAP command."),
        ("\r\n", "* BAD Error in IMAP command."),
        ("+ NOOP\r\n", "* BAD Error in IMAP command."),
        (" NOOP\r\n", "* BAD Error in IMAP command."),
        ("a4 SELECT \"INBOX\r\n", "a4 BAD Error in IMAP command."),
        ("a5 SELECT INBOX)\r\n", "a5 BAD Error in IMAP command."),
        ("a6 SELECT {5\r\n", "a6 BAD Error in IMAP command."),
        ("a7 SEARCH (((\r\n", "a7 BAD Error in IMAP command."),
        ("a8 NO\0OP\r\n", "a8 BAD Error in IMAP command."),
        ("a9 STORE 0 FLAGS ()\r\n", "a9 BAD Error in IMAP command."),
        ("b1 STORE 4294967296 FLAGS ()\r\n", "b1 BAD Error in IMAP command."),
        ("b2 NOOP {3}\r\n", "b2 BAD Error in IMAP command."),
        ("b3 AUTHENTICATE PLAIN\r\n", "b3 BAD Already logged in."),
        ("b4 COMPRESS DEFLATE\r\n", "b4 BAD Unknown command."),
    ] {
        client.send(sent);
        assert_eq!(client.line(), reply, "{sent:?}");
        // One good command between them, so that they are not taken for an attack.
        assert!(client.ok("NOOP").is_empty(), "{sent:?}");
    }
    // A bare LF ends a line as well, as it does in Dovecot.
    client.send("c1 NOOP\n");
    assert_eq!(client.line(), "c1 OK NOOP completed.");
}

#[test]
fn twenty_bad_commands_in_a_row_end_the_session() {
    let lab = Lab::new();
    let mut client = lab.login();
    for _ in 0..19 {
        client.send("x FROB\r\n");
    }
    client.ok("NOOP");
    client.send("x FROB\r\n".repeat(25));
    for _ in 0..20 {
        assert_eq!(client.line(), "x BAD Error in IMAP command.");
    }
    assert_eq!(client.line(), "* BYE Too many invalid IMAP commands.");
    assert!(matches!(client.end(), End::Malformed));
}

#[test]
fn an_overlong_line_is_forgotten_as_it_comes() {
    let lab = Lab::new();
    let mut client = lab.login();
    let mut stream = client.stream();
    let writer = std::thread::spawn(move || {
        stream.write_all(b"a SELECT ").unwrap();
        for _ in 0..1000 {
            stream.write_all(&[b'x'; 10_000]).unwrap();
        }
        stream.write_all(b"\r\nb NOOP\r\n").unwrap();
    });
    assert_eq!(client.line(), "a BAD Too long line.");
    assert_eq!(client.line(), "b OK NOOP completed.");
    writer.join().unwrap();
}

#[test]
fn literals_beyond_a_limit_are_refused_before_they_are_read() {
    let lab = Lab::new();
    let mut client = lab.login();
    for (command, reply) in [
        ("CREATE {300000}", "BAD [TOOBIG] Literal too large."),
        ("CREATE {4294967295}", "BAD [TOOBIG] Literal too large."),
        ("FROB {10}", "BAD Error in IMAP command."),
        ("CREATE ({10}", "BAD Error in IMAP command."),
    ] {
        assert_eq!(client.reply(command), reply, "{command}");
    }
    // A client that does not wait is skipped: what is in its literal is no command.
    let inside = "z LOGOUT\r\n".repeat(30_000);
    client.send(format!("a CREATE {{{}+}}\r\n{inside}\r\n", inside.len()));
    assert_eq!(client.line(), "a BAD [TOOBIG] Literal too large.");
    client.send("b FROB {12+}\r\nz LOGOUT\r\n\r\n {3+}\r\nabc\r\n");
    assert_eq!(client.line(), "b BAD Error in IMAP command.");
    client.ok("NOOP");
    // More than anybody would skip ends the session.
    client.send("c CREATE {4000000000+}\r\n");
    assert_eq!(client.line(), "* BYE Literal too large.");
}

#[test]
fn a_flood_of_literals_is_bounded() {
    let lab = Lab::new();
    let mut client = lab.login();
    let begin = Instant::now();
    client.send(format!("a SEARCH{}\r\n", " SUBJECT {1+}\r\nx".repeat(5_000)));
    assert_eq!(client.line(), "a BAD Too many literals.");
    client.ok("NOOP");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_literal_may_hold_what_a_line_may_not_but_no_nul() {
    let lab = Lab::new();
    let mut client = lab.login();
    client.send("a CREATE {4+}\r\na\0bc\r\n");
    assert!(client.line().starts_with("a BAD"));
    client.send("b CREATE {5+}\r\na\r\nbc\r\n");
    assert_eq!(client.line(), "b NO [CANNOT] Invalid mailbox name.");
}

#[test]
fn no_name_leads_out_of_the_home() {
    let lab = Lab::new();
    let mut client = lab.login();
    let outside = lab.home().parent().unwrap().join("outside");
    fs::create_dir_all(outside.join("cur")).unwrap();
    fs::create_dir_all(outside.join("new")).unwrap();
    let before = entries(outside.parent().unwrap());
    for name in [
        "../outside",
        "..",
        ".",
        "a/../../outside",
        "/etc",
        "a..b",
        ".a",
        "a/b",
        "\"a\\\\..\\\\b\"",
        "&AC8-etc",
        "&AC4ALg-",
        "&AAA-",
        "&Jjo",
        "~root",
        "\"\"",
    ] {
        for command in ["CREATE", "DELETE", "SELECT", "SUBSCRIBE", "RENAME INBOX", "EXAMINE"] {
            let reply = client.reply(&format!("{command} {name}"));
            let is_refused = !reply.starts_with("OK") || name == "~root";
            assert!(is_refused, "{command} {name}: {reply}");
        }
        client.reply(&format!("STATUS {name} (MESSAGES)"));
        client.ok(&format!("LIST {name} *"));
        client.ok(&format!("LIST \"\" {name}"));
    }
    assert_eq!(entries(outside.parent().unwrap()), before);
    assert_eq!(entries(&outside), ["cur", "new"]);
}

fn entries(folder: &std::path::Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let lab = Lab::with_mails(1);
    let mut client = lab.login();
    let all: String = (0..2000).map(|number| format!("p{number} NOOP\r\n")).collect();
    client.send(format!("{all}q SELECT INBOX\r\nr IDLE\r\nDONE\r\ns LOGOUT\r\n"));
    for number in 0..2000 {
        assert_eq!(client.line(), format!("p{number} OK NOOP completed."));
    }
    client.until("q OK");
    assert_eq!(client.line(), "+ idling");
    assert_eq!(client.line(), "r OK Idle completed.");
    assert_eq!(client.line(), "* BYE Logging out");
}

#[test]
fn half_a_command_and_a_hang_up_harm_nobody() {
    let lab = Lab::with_mails(1);
    let mut other = lab.select();
    for half in
        ["", "a", "a NOOP", "a SELECT {5}\r\n", "a CREATE {5+}\r\nab", "a APPEND INBOX {9+}\r\nx"]
    {
        let mut client = lab.login();
        client.send(half);
        assert!(matches!(client.hang_up(), End::Gone(_)), "{half:?}");
        assert!(other.ok("NOOP").is_empty(), "{half:?}");
    }
    assert_eq!(entries(&lab.home().join("tmp")), [""; 0], "nothing is left of the half mail");
}

#[test]
fn a_client_that_does_not_read_holds_up_only_itself() {
    let lab = Lab::with_mails(200);
    let mut slow = lab.select();
    slow.send("a STORE 1:* +FLAGS (\\Seen)\r\n".repeat(300));
    let mut other = lab.select();
    let begin = Instant::now();
    other.ok("NOOP");
    assert!(begin.elapsed() < Duration::from_secs(5));
    for _ in 0..300 {
        assert_eq!(slow.until("a ").len(), 201);
    }
}
