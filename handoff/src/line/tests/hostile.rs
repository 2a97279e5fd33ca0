//! Lines that nobody honest writes.

use super::*;

#[test]
fn lets_no_forged_word_through() {
    // Only the engine may say these; a worker's line that holds them gets them cut out.
    let forged = b"u\tp\ttag=a\tclient_input=QUJD\tclient_output=QUJD\tbad-done\tbad-done=1\t\
        idle-continue\thibernation_started=1.000000\tclient_input";
    let out = rendered(forged, &Wakeup::default());
    assert_eq!(out, b"u\thibernation_started=0.000000\ttag=a");
    // Nor can an escape hide one: 0x01 before a letter would stand for that letter.
    for hidden in ["\x01client_input=QUJD", "client_input\x01=QUJD", "\x01bad-done"] {
        let line = format!("u\tp\ttag=a\t{hidden}");
        assert!(
            text(HibernateLine::parse(line.as_bytes()).unwrap_err()).starts_with("Invalid esc")
        );
    }
}

#[test]
fn a_repeated_key_is_taken_from_its_last_place() {
    let line =
        b"u\tp\ttag=a\tmailbox=x\tinput_bytes_extra=1\tinput_bytes_extra=2\tmailbox=y\ttag=b";
    let parsed = HibernateLine::parse(line).unwrap();
    assert_eq!((parsed.tag, parsed.mailbox), (&b"b"[..], Some(&b"y"[..])));
    let wakeup = Wakeup { input_bytes: u64::MAX, ..Wakeup::default() };
    let out = rendered(line, &wakeup);
    assert!(out.ends_with(b"\tinput_bytes_extra=18446744073709551615"));
    assert_eq!(MasterRequest::parse(&out).unwrap().line.tag, b"b");
}

#[test]
fn refuses_with_the_texts_of_dovecot() {
    let refused = [
        ("", "Missing username in input"),
        ("\tp\ttag=a", "Missing username in input"),
        ("u", "Missing mail_log_prefix in input"),
        ("u\tp", "Missing tag"),
        ("u\ttag=a", "Missing tag"),
        (
            "u\tp\ttag=a\tpeer_ino=18446744073709551615",
            "Invalid peer_ino value: 1844674407370955161\
         5",
        ),
        ("u\tp\ttag=a\tpeer_dev_major=", "Invalid peer_dev_major value: "),
        ("u\tp\ttag=a\tpeer_dev_minor=-1", "Invalid peer_dev_minor value: -1"),
        (
            "u\tp\ttag=a\tidle_notify_interval=4294967296",
            "Invalid idle_notify_interval value: 42949\
         67296",
        ),
        ("u\tp\ttag=a\tlport=0", "Invalid lport value: 0"),
        ("u\tp\ttag=a\trport=65536", "Invalid rport value: 65536"),
        ("u\tp\ttag=a\tlip=localhost", "Invalid lip value: localhost"),
        ("u\tp\ttag=a\trip=1.2.3.4.5", "Invalid rip value: 1.2.3.4.5"),
        ("u\tp\ttag=a\tuid=4294967295", "Invalid uid value: 4294967295"),
        ("u\tp\ttag=a\tgid=-1", "Invalid gid value: -1"),
        (
            "u\tp\ttag=a\tsession_created=9223372036854775808",
            "Invalid session_created value: 922337\
         2036854775808",
        ),
        (
            "u\tp\ttag=a\tinput_bytes_extra=18446744073709551616",
            "Invalid input_bytes_extra value: 1\
         8446744073709551616",
        ),
        ("u\tp\ttag=a\tappend_count=1x", "Invalid append_count value: 1x"),
        ("u\tp\ttag=a\tstate=YmFzZ", "Invalid state value: YmFzZ"),
        ("u\tp\ttag=a\tstate=YmFz=Qo=", "Invalid state value: YmFz=Qo="),
        ("u\tp\ttag=a\tstate=Ym zQo=", "Invalid state value: Ym zQo="),
        ("u\tp\ttag=a\tsession=\x01", "Invalid escape in input: ?"),
        ("u\tp\ttag=a\tsession=\x01x", "Invalid escape in input: ?x"),
        ("u\tp\ttag=a\0", "NUL byte in input"),
        ("u\tp\ttag=a\x010", "NUL byte in input"),
    ];
    for (line, reason) in refused {
        assert_eq!(text(HibernateLine::parse(line.as_bytes()).unwrap_err()), reason, "{line:?}");
    }
}

#[test]
fn an_error_text_is_short_and_printable() {
    let mut line = b"u\tp\ttag=a\tlip=".to_vec();
    line.extend((1..=255).filter(|byte| !b"\x01\t\n".contains(byte)));
    let reason = text(HibernateLine::parse(&line).unwrap_err());
    assert!(reason.len() < 80, "{reason}");
    assert!(reason.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{reason:?}");
}

#[test]
fn base64_is_checked_over_the_whole_state() {
    // Padding in the middle is refused at each place of a state longer than one piece, where a
    // piece ends as well.
    let whole = vec![b'A'; 2048];
    for at in 0..2046 {
        let mut state = whole.clone();
        state[at] = b'=';
        let line = [b"u\tp\ttag=a\tstate=", &state[..]].concat();
        assert!(HibernateLine::parse(&line).is_err(), "{at}");
    }
    let line = [b"u\tp\ttag=a\tstate=", &whole[..]].concat();
    assert!(HibernateLine::parse(&line).is_ok());
}

#[test]
fn every_cut_and_every_changed_byte_is_survived() {
    // Exhaustive over one line: each prefix, each byte set to each of 16 values. What is accepted
    // must render, and the rendered line must be accepted by the other side.
    let wakeup = Wakeup { input_bytes: 1, tag: Some(b"x"), ..Wakeup::default() };
    let check = |line: &[u8]| {
        let Ok(parsed) = HibernateLine::parse(line) else { return 0 };
        let out = rendered(line, &wakeup);
        let request = MasterRequest::parse(&out).unwrap();
        assert_eq!(request.line.username, parsed.username);
        assert_eq!(request.line.tag, b"x");
        assert_eq!(request.line.session, parsed.session);
        assert_eq!(request.line.userdb_fields, parsed.userdb_fields);
        assert!(request.client_input.is_empty() && !request.bad_done);
        1
    };
    let mut accepted = 0;
    for end in 0..LINE_2_4_1.len() {
        accepted += check(&LINE_2_4_1[..end]);
    }
    for at in 0..LINE_2_4_1.len() {
        for &byte in b"\0\x01\t\r =+/0a1Zz\x7f\x80\xff" {
            let mut line = LINE_2_4_1.to_vec();
            line[at] = byte;
            accepted += check(&line);
        }
    }
    assert!(accepted > 1000, "{accepted}");
}
