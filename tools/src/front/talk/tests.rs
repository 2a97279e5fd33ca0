use super::*;

/// All that the client is told, until bytes or a password check are needed.
fn play(talk: &mut Talk, bytes: &[u8]) -> (String, Option<Login>) {
    talk.feed(bytes);
    let mut said = String::new();
    loop {
        match talk.next() {
            Next::Read => return (said, None),
            Next::Say(text) => said.push_str(&text),
            Next::Login(login) => return (said, Some(login)),
            Next::End(ending) => return (said + &ending.text + "[end]", None),
        }
    }
}

fn login(bytes: &[u8]) -> Option<(String, String, String)> {
    let (_, login) = play(&mut Talk::new(4096), bytes);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    login.map(|login| (login.tag, text(&login.user), text(login.password.declassify())))
}

#[test]
fn every_way_to_send_a_password_is_the_same_login() {
    let expected = Some(("a1".to_owned(), "ann".to_owned(), "pw".to_owned()));
    let ways: [&[u8]; 7] = [
        b"a1 LOGIN ann pw\r\n",
        b"a1 login \"ann\" \"pw\"\r\n",
        b"a1 LOGIN {3}\r\nann {2}\r\npw\r\n",
        b"a1 LOGIN {3+}\r\nann {2+}\r\npw\r\n",
        b"a1 AUTHENTICATE PLAIN AGFubgBwdw==\r\n",
        b"a1 authenticate plain\r\nAGFubgBwdw==\r\n",
        b"a1 AUTHENTICATE PLAIN YW5uAGFubgBwdw==\r\n",
    ];
    for way in ways {
        assert_eq!(login(way), expected, "{}", String::from_utf8_lossy(way));
    }
}

#[test]
fn a_password_cut_anywhere_is_the_same_and_what_follows_stays_untouched() {
    let (command, behind) = (b"a1 LOGIN ann {2}\r\np\n\r\n", b"a2 SELECT INBOX\r\na3 ID");
    let whole = [&command[..], &behind[..]].concat();
    for cut in 1..whole.len() {
        let mut talk = Talk::new(4096);
        let (first, mut found) = play(&mut talk, &whole[..cut]);
        let mut said = first;
        if found.is_none() {
            let (more, login) = play(&mut talk, &whole[cut..]);
            said.push_str(&more);
            found = login;
        } else {
            talk.feed(&whole[cut..]);
        }
        assert_eq!(said, "+ OK\r\n", "cut at {cut}");
        let login = found.expect("a login");
        assert_eq!(login.password.declassify(), b"p\n");
        assert_eq!(talk.into_unread(), behind, "cut at {cut}");
    }
}

#[test]
fn commands_have_their_answers_and_everything_else_is_bad() {
    let mut talk = Talk::new(4096);
    let mut ask = |text: &str| play(&mut talk, text.as_bytes()).0;
    assert!(ask("a CAPABILITY\r\n").starts_with("* CAPABILITY IMAP4rev1 "));
    assert!(ask("b ID (\"name\" \"x\")\r\n").contains("b OK "));
    assert_eq!(ask("c NOOP\r\n"), "c OK NOOP completed\r\n");
    assert_eq!(ask("d SELECT INBOX\r\n"), "d BAD Log in first\r\n");
    assert!(ask("e STARTTLS\r\n").starts_with("e BAD "));
    assert!(ask("f LOGIN ann\r\n").starts_with("f BAD "));
    assert!(ask("g FROBNICATE\r\n").starts_with("g BAD "));
    assert!(ask("\u{1}\r\n").starts_with("* BAD "));
    assert_eq!(ask("\r\n"), "");
    assert!(ask("h AUTHENTICATE CRAM-MD5\r\n").starts_with("h NO "));
    assert!(ask("i AUTHENTICATE PLAIN\r\n").starts_with("+ "));
    assert!(ask("*\r\n").starts_with("i BAD "));
    assert!(ask("j AUTHENTICATE PLAIN\r\n").starts_with("+ "));
    assert!(ask("!\r\n").starts_with("j BAD "));
    assert!(ask("k AUTHENTICATE PLAIN YQ==\r\n").starts_with("k BAD "));
    let boss = ask("l AUTHENTICATE PLAIN Ym9zcwBhbm4AcHc=\r\n");
    assert!(boss.starts_with("l NO [AUTHORIZATIONFAILED]"), "{boss}");
    assert_eq!(ask("m NOOP\r\nn NOOP\r\n").lines().count(), 2, "pipelined");
    assert!(ask("o LOGOUT\r\n").ends_with("o OK Logout completed\r\n[end]"));
}

#[test]
fn what_is_too_much_ends_before_it_is_read() {
    let mut talk = Talk::new(100);
    let (said, _) = play(&mut talk, b"a LOGIN {101}\r\n");
    assert!(said.starts_with("a BAD [TOOBIG]"), "{said}");
    assert_eq!(play(&mut talk, b"b NOOP\r\n").0, "b OK NOOP completed\r\n");
    assert!(play(&mut talk, b"c LOGIN {4294967295+}\r\n").0.ends_with("[end]"));
    for flood in [&b"x"[..], b"x\r\n", b"a NOOP\r\n", b"a LOGIN {9}\r\n{9}\r\n"] {
        let mut talk = Talk::new(100);
        let ended = (0..200).any(|_| play(&mut talk, flood).0.ends_with("[end]"));
        assert!(ended, "{}", String::from_utf8_lossy(flood));
    }
}
