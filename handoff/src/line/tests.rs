//! The lines are those that Dovecot wrote on the wire, shortened in no place but the home path.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const LINE_2_3: &[u8] = b"u00001\t%s(%u)<%{pid}><%{session}>: \tidle_notify_interval=120\t\
    peer_dev_major=0\tpeer_dev_minor=9\tpeer_ino=151861\tsession=uHK3ofJg8IF/AAAB\t\
    session_created=1795445071\tlip=127.0.0.1\tlport=20143\trip=127.0.0.1\trport=33264\t\
    userdb_fields=uid=5000\x01tgid=5000\x01thome=/srv/mail/u00001\x01tauth_mech=PLAIN\x01t\
    auth_token=780b320eb92e3f4bec381d10bb91d6728a988269\tuid=5000\tgid=5000\tmailbox=INBOX\t\
    tag=a3\t\
    stats=in=26 out=747 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 \
    body_bytes=0\tidle-cmd\tnotify_fd\t\
    state=YmFzZQpCSU5CT1gAvNOUNg9QBGsNUQAAg+zDdQCPoJHYBgIBAwAA+fDizwkA";

const LINE_2_4_1: &[u8] = b"1\t%{service}(%{user})<%{process:pid}><%{session}>: \t\
    idle_notify_interval=120\tpeer_dev_major=0\tpeer_dev_minor=9\tpeer_ino=1498263\t\
    session=2Y1Zt/JgArF/AAAB\tsession_created=1795445434\tlip=127.0.0.1\tlport=143\trip=127.0.0.1\t\
    rport=45314\tuserdb_fields=uid=5000\x01tgid=5000\x01thome=/srv/mail/u1\x01t\
    auth_mech=PLAIN\x01tauth_token=d54ffe50e7d6e496ea7d216a95154d783f3a9ceb\t\
    uid=5000\tgid=5000\tmailbox=INBOX\t\
    tag=a3\t\
    stats=in=26 out=763 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 \
    body_bytes=0\tidle-cmd\tnotify_fd\t\
    state=YmFzZQpCSU5CT1gA+KDTH6tSBGvKCwAAg+zDdQCrpZHYBgEAAQAAAAA=\tfetch_hdr_count=0\t\
    fetch_hdr_bytes=0\tfetch_body_count=0\tfetch_body_bytes=0\tdeleted_count=0\texpunged_count=0\t\
    trashed_count=0\tautoexpunged_count=0\tappend_count=0\tinput_bytes_extra=26\t\
    output_bytes_extra=763";

/// 2.2.36 and 2.3.4 name neither ports nor mailbox.
const LINE_2_2: &[u8] = b"u1\t%s(%u): \tidle_notify_interval=120\tpeer_dev_major=0\t\
    peer_dev_minor=9\tpeer_ino=7\tsession=s1\tsession_created=5\tlip=::1\trip=2001:db8::1\t\
    userdb_fields=uid=5000\tuid=5000\tgid=5000\ttag=a3\tstats=in=26\tidle-cmd\tnotify_fd\t\
    state=YmFzZQo=";

/// 2.4.3 and later: the token pair on the top level.
const LINE_2_4_3: &[u8] = b"u1\tp: \tidle_notify_interval=120\tsession=s1\tmultiplex_ostream\t\
    userdb_fields=a=1\ttag=a3\tauth_token=d54ffe50e7d6e496ea7d216a95154d783f3a9ceb\t\
    session_pid=4711\tstats=x\tidle-cmd\tstate=YmFzZQo=\tappend_count=2\tinput_bytes_extra=26\t\
    output_bytes_extra=763";

fn rendered(line: &[u8], wakeup: &Wakeup<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(unhibernate::rendered_bytes_max(line.len(), wakeup));
    let room = out.capacity();
    unhibernate::render(&mut out, line, wakeup);
    assert_eq!(out.capacity(), room, "rendering allocated");
    assert_eq!(out.pop(), Some(b'\n'));
    out
}

fn text(error: LineError) -> String {
    error.to_string()
}

#[test]
fn parses_the_line_of_2_3() {
    let line = HibernateLine::parse(LINE_2_3).unwrap();
    assert_eq!(line.username, b"u00001");
    assert_eq!(line.log_prefix, b"%s(%u)<%{pid}><%{session}>: ");
    assert_eq!(line.idle_notify_interval_secs, 120);
    assert_eq!(line.peer, Some(Peer { dev_major: 0, dev_minor: 9, ino: 151_861 }));
    assert_eq!(line.session, Some(&b"uHK3ofJg8IF/AAAB"[..]));
    assert_eq!(line.session_created, Some(1_795_445_071));
    assert_eq!(line.rip, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert_eq!((line.lport, line.rport), (Some(20_143), Some(33_264)));
    assert_eq!((line.uid, line.gid), (Some(5000), Some(5000)));
    assert_eq!(line.mailbox, Some(&b"INBOX"[..]));
    assert_eq!(line.tag, b"a3");
    assert!(line.stats.unwrap().starts_with(b"in=26 out=747 "));
    assert!(line.idle_cmd && line.notify_fd && !line.multiplex_ostream);
    assert_eq!(line.statistics, None);
    // The token inside of userdb_fields is another one.
    assert_eq!(line.auth_token, None);
    let mut fields = Vec::new();
    unescape_into(&mut fields, line.userdb_fields.unwrap());
    assert_eq!(fields.split(|&byte| byte == b'\t').count(), 5);
}

#[test]
fn parses_every_dialect() {
    let old = HibernateLine::parse(LINE_2_2).unwrap();
    assert_eq!((old.lport, old.rport, old.mailbox), (None, None, None));
    assert_eq!(old.rip, Some("2001:db8::1".parse().unwrap()));
    let new = HibernateLine::parse(LINE_2_4_1).unwrap();
    let statistics = new.statistics.unwrap();
    assert_eq!((statistics.input_bytes_extra, statistics.output_bytes_extra), (26, 763));
    let newest = HibernateLine::parse(LINE_2_4_3).unwrap();
    assert!(newest.multiplex_ostream);
    assert_eq!(newest.session_pid, Some(&b"4711"[..]));
    assert_eq!(newest.auth_token.unwrap().len(), 40);
    assert_eq!(newest.statistics.unwrap().append_count, 2);
    let least = HibernateLine::parse(b"user\tprefix\ttag=t1\tuserdb_fields=\tidle-cmd").unwrap();
    assert_eq!(least.userdb_fields, Some(&b""[..]));
    assert!(HibernateLine::parse(b"user\tprefix\ttag=").unwrap().tag.is_empty());
}

#[test]
fn renders_the_line_that_dovecot_renders() {
    // Byte for byte what 2.3 and 2.4.1 wrote: the order of the keys is theirs as well.
    for line in [LINE_2_2, LINE_2_3, LINE_2_4_1, LINE_2_4_3] {
        let mut parsed = HibernateLine::parse(line).unwrap();
        let mut out = Vec::new();
        parsed.render(&mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        if line == LINE_2_4_3 {
            // The shortened line has three of the eleven keys; all of them come out.
            assert_eq!(HibernateLine::parse(&out).unwrap(), parsed);
        } else {
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(line));
        }
        parsed.tag = b"";
        out.clear();
        parsed.render(&mut out);
        assert_eq!(HibernateLine::parse(out.trim_ascii_end()).unwrap(), parsed);
    }
}

#[test]
fn hands_back_the_line_that_stock_hands_back() {
    // The words of the hand-back after mail arrived, in the order of the hibernate line.
    let wakeup = Wakeup {
        hibernation_started_us: 1_795_445_072_777_873,
        idle_continue: true,
        ..Wakeup::default()
    };
    let expected = b"u00001\thibernation_started=1795445072.777873\tpeer_dev_major=0\t\
        peer_dev_minor=9\tpeer_ino=151861\tsession=uHK3ofJg8IF/AAAB\tsession_created=1795445071\t\
        lip=127.0.0.1\tlport=20143\trip=127.0.0.1\trport=33264\tuserdb_fields=uid=5000\x01tgid=5000\
        \x01thome=/srv/mail/u00001\x01tauth_mech=PLAIN\x01t\
        auth_token=780b320eb92e3f4bec381d10bb91d6728a988269\ttag=a3\t\
        state=YmFzZQpCSU5CT1gAvNOUNg9QBGsNUQAAg+zDdQCPoJHYBgIBAwAA+fDizwkA\tidle-continue";
    assert_eq!(
        String::from_utf8_lossy(&rendered(LINE_2_3, &wakeup)),
        String::from_utf8_lossy(expected)
    );
}

#[test]
fn adds_up_the_statistics_of_2_4_1() {
    // DONE and a new IDLE answered asleep (15 bytes in, 33 out), then a DONE of 6 bytes.
    let wakeup = Wakeup { input_bytes: 21, output_bytes: 33, ..Wakeup::default() };
    let out = rendered(LINE_2_4_1, &wakeup);
    let request = MasterRequest::parse(&out).unwrap();
    let statistics = request.line.statistics.unwrap();
    assert_eq!((statistics.input_bytes_extra, statistics.output_bytes_extra), (47, 796));
    // 2.3 has no such keys, so none are made up.
    assert!(MasterRequest::parse(&rendered(LINE_2_3, &wakeup)).unwrap().line.statistics.is_none());
}

#[test]
fn carries_the_token_and_what_it_does_not_know() {
    let mut line = LINE_2_4_3.to_vec();
    line.extend_from_slice(b"\tfuture_key=a=b\tfuture_flag");
    let out = rendered(&line, &Wakeup::default());
    let request = MasterRequest::parse(&out).unwrap();
    assert_eq!(request.line.session_pid, Some(&b"4711"[..]));
    assert!(request.line.auth_token.is_some() && request.line.multiplex_ostream);
    assert!(out.windows(27).any(|part| part == b"\tfuture_key=a=b\tfuture_flag"));
    assert_eq!((request.line.stats, request.line.uid), (None, None));
    assert!(!request.line.idle_cmd && !request.line.notify_fd);
}

#[test]
fn carries_input_output_and_a_new_tag() {
    let wakeup = Wakeup {
        tag: Some(b"b\t1\x01"),
        client_input: b"DONE\r\nb1 NOOP\r\n",
        client_output: b"ll here\r\n",
        idle_continue: true,
        ..Wakeup::default()
    };
    let out = rendered(LINE_2_4_1, &wakeup);
    let request = MasterRequest::parse(&out).unwrap();
    let (mut input, mut output, mut tag) = (Vec::new(), Vec::new(), Vec::new());
    request.client_input_into(&mut input);
    request.client_output_into(&mut output);
    request.line.tag_into(&mut tag);
    assert_eq!(input, b"DONE\r\nb1 NOOP\r\n");
    assert_eq!(output, b"ll here\r\n");
    assert_eq!(tag, b"b\t1\x01");
    assert!(request.idle_continue && !request.bad_done);
    assert_eq!(out.windows(5).filter(|part| part == b"\ttag=").count(), 1);
}

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

#[test]
fn escaping_goes_round_for_all_pairs_of_bytes() {
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            let (mut escaped, mut back) = (Vec::new(), Vec::new());
            escape_into(&mut escaped, &[first, second]);
            unescape_into(&mut back, &escaped);
            assert_eq!(back, [first, second]);
            assert!(!escaped.iter().any(|byte| b"\0\t\r\n".contains(byte)));
        }
    }
    let mut text = Vec::new();
    unescape_into(&mut text, b"a\x01xb\x01");
    assert_eq!(text, b"axb");
}

#[test]
fn checks_versions() {
    assert_eq!(check_version(b"VERSION\timap-master\t1\t99", "imap-master"), Ok(()));
    assert_eq!(check_version(HIBERNATE_VERSION.trim_ascii_end(), "imap-hibernate"), Ok(()));
    for wrong in [
        "",
        "VERSION",
        "VERSION\timap-master\t1",
        "VERSION\timap-master\t1\t0\t",
        "\t\t\t",
        "VERSION\timap-master\t2\t0",
        "VERSION\timap\t1\t0",
        "version\timap-master\t1\t0",
        "VERSION\timap-master\t1\t",
        "VERSION\timap-master\t1\tx",
        "VERSION\timap-master\t-1\t0",
    ] {
        assert!(check_version(wrong.as_bytes(), "imap-master").is_err(), "{wrong:?}");
    }
}

#[test]
fn reads_replies() {
    assert_eq!(parse_reply(b""), None);
    assert_eq!(parse_reply(b"+"), Some(Reply::Taken));
    assert_eq!(parse_reply(b"+junk\n"), Some(Reply::Taken));
    assert_eq!(parse_reply(b"-"), Some(Reply::Refused(b"")));
    assert_eq!(parse_reply(b"-no room\r\nmore"), Some(Reply::Refused(b"no room")));
    assert_eq!(parse_reply(b"junk\n"), Some(Reply::Refused(b"unk")));
    assert_eq!(parse_reply(&[b'-'; 5000]), Some(Reply::Refused(&[b'-'; REASON_BYTES_MAX])));
}

#[test]
fn frames_output() {
    let framed = |payload: &[u8], first| {
        let mut out = Vec::with_capacity(framed_bytes_max(payload.len()));
        frame(&mut out, payload, first);
        out
    };
    assert_eq!(
        framed(b"t1 OK Idle completed.\r\n+ idling\r\n", true),
        b"\x03\xfe\x00\x00t1 OK Idle completed.\r\n+ idling\r\n"
    );
    assert_eq!(framed(b"* OK Still here\r\n", false), b"* OK Still here\r\n");
    assert_eq!(framed(b"\x03a\x03", false), b"\x03a\x03\xfe\x01");
    assert_eq!(framed(b"\x03\xfe\x03\x03", false), b"\x03\xfe\x01\xfe\x03\x03\xfe\x01");
    assert_eq!(framed(b"", true), b"\x03\xfe\x00\x00");
}

#[test]
fn framed_output_reads_back() {
    // All words of up to five bytes over the three that matter, cut in two at each place.
    for number in 0..3usize.pow(5) {
        let word: Vec<u8> = (0..5).map(|at| [3, 0xFE, b'a'][number / 3usize.pow(at) % 3]).collect();
        for cut in 0..=word.len() {
            let mut out = Vec::new();
            frame(&mut out, &word[..cut], true);
            frame(&mut out, &word[cut..], false);
            assert_eq!(unframed(&out), word);
        }
    }
}

/// The reader on the other side: `03 FE` begins a frame, everything else is text.
fn unframed(mut stream: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let [byte, rest @ ..] = stream {
        stream = match stream {
            [3, 0xFE, 0, 0, rest @ ..] => rest,
            [3, 0xFE, 1, rest @ ..] => {
                text.push(3);
                rest
            }
            [3, 0xFE, ..] => panic!("a frame that nobody wrote"),
            _ => {
                text.push(*byte);
                rest
            }
        };
    }
    text
}

#[test]
fn a_time_of_hibernation_is_seconds_and_six_digits() {
    let parse = |time: &str| {
        let line = format!("u\thibernation_started={time}");
        MasterRequest::parse(line.as_bytes()).map(|request| request.hibernation_started_us)
    };
    assert_eq!(parse("1.000002"), Ok(Some(1_000_002)));
    for time in ["1", "1.00002", "1.0000002", "x.000002", "1.00000x", "18446744073709551615.000000"]
    {
        let text = parse(time).expect_err(time).to_string();
        assert!(text.starts_with("Invalid hibernation_started value: "), "{text}");
    }
}
